"""ReConPatch (Hyun et al., "Contrastive Patch Representation Learning", WACV 2024)."""
