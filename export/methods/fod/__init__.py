"""FOD (Yao et al. 2023): intra- and inter-correlation of patches, learned by transformers."""
