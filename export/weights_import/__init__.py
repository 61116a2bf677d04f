"""Foreign weights: a pickle is read in a process of its own, and only tensors come out of it."""
