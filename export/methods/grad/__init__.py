"""GRAD: generate contrastive patterns, reweight them, detect with small networks."""
