"""The kernels once more in plain NumPy: what they compute, without how. One module per kernel."""
