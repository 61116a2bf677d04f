"""ReContrast: an encoder and its frozen copy, each reconstructed from the other's features."""
