"""``pyad-edge bench``: how fast and how steady an engine is on this machine."""
