"""pyad_edge."""
