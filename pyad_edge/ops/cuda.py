"""CUDA forms of the kernels. Importing this module never needs a driver."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyad_edge.errors import BackendError
from pyad_edge.ops.nearest_neighbors import _matrix

__all__ = ["device_count", "nearest_neighbors", "why_unavailable"]


def why_unavailable() -> str | None:
    """Why CUDA kernels cannot run here, in one sentence; None where they can."""
    try:
        count = _module().device_count()
    except BackendError as error:
        return str(error)
    if count == 0:
        return "[cuda] no CUDA device was found, or the driver is missing or too old."
    return None


def device_count() -> int:
    """CUDA devices that can be used; 0 without driver, device or CUDA build."""
    try:
        return int(_module().device_count())
    except BackendError:
        return 0


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
        BackendError: if there is no CUDA build or no device.
        ValueError: if a shape does not fit or a value is not finite.
    """
    if reason := why_unavailable():
        raise BackendError(reason)
    queries = _matrix("queries", queries, "(Q, D)")
    bank = _matrix("bank", bank, "(M, D)")
    if queries.shape[1] != bank.shape[1]:
        raise ValueError(
            f"[nearest_neighbors] expected queries of shape (Q, {bank.shape[1]}) to match the bank "
            f"{bank.shape}, got {queries.shape}. Was the bank built with another backbone?"
        )
    distances = np.empty((len(queries), 1), np.float32)
    indices = np.empty((len(queries), 1), np.int64)
    _module().nearest_neighbors(queries, bank, distances, indices)
    return distances, indices


def _module() -> Any:
    try:
        return importlib.import_module("pyad_edge._cuda")
    except ImportError as error:
        raise BackendError(
            "[cuda] this installation was built without CUDA. Put nvcc on PATH and install from "
            "source with: pip install . --config-settings=cmake.define.PYAD_CUDA=ON"
        ) from error
