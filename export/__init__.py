"""The workshop: training and export; installed as ``pyad_edge.export``."""
