"""A whole frame on a CUDA device: what :mod:`pyad_edge.device_pipeline` is made of."""
