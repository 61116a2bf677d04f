"""Refinement of anomaly maps: a small network trained on synthetic defects (ReConPatch, D)."""
