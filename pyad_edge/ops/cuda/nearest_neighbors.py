"""Exact nearest neighbours on a CUDA device."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pyad_edge.ops.cuda.device import device_errors, require_device
from pyad_edge.ops.nearest_neighbors import _matrix

__all__ = ["nearest_neighbors"]


def nearest_neighbors(
    queries: NDArray[np.float32], bank: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Nearest bank row of each query, on the first device; bit-equal to the CPU form with k=1.

    Args:
        queries: (Q, D) float32, finite, in host memory.
        bank: (M, D) float32, finite, in host memory.

    Returns:
        distances: (Q, 1) float32 canonical squared distances.
        indices: (Q, 1) int64.

    Raises:
        BackendError: if there is no CUDA build or no device, or the device fails.
        ValueError: if a shape does not fit or a value is not finite.
    """
    module = require_device()
    queries = _matrix("queries", queries, "(Q, D)")
    bank = _matrix("bank", bank, "(M, D)")
    if queries.shape[1] != bank.shape[1]:
        raise ValueError(
            f"[nearest_neighbors] expected queries of shape (Q, {bank.shape[1]}) to match the bank "
            f"{bank.shape}, got {queries.shape}. Was the bank built with another backbone?"
        )
    distances = np.empty((len(queries), 1), np.float32)
    indices = np.empty((len(queries), 1), np.int64)
    with device_errors(
        f"the search of {queries.shape} queries in a bank of {bank.shape}",
        "Use pyad_edge.ops.nearest_neighbors, which needs none.",
    ):
        module.nearest_neighbors(queries, bank, distances, indices)
    return distances, indices
