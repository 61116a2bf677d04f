"""CUDA forms of the kernels. Importing this module never needs a driver."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyad_edge.errors import BackendError
from pyad_edge.ops.nearest_neighbors import _matrix

__all__ = ["device_count", "nearest_neighbors", "why_unavailable"]

MODULE = "pyad_edge._cuda"


def why_unavailable() -> str | None:
    """Why CUDA kernels cannot run here, in one sentence; None where they can."""
    try:
        count = _count()
    except BackendError as error:
        return str(error)
    if count == 0:
        return "[cuda] no CUDA device was found, or the driver is missing or too old."
    return None


def device_count() -> int:
    """CUDA devices that can be used; 0 where there is none.

    :func:`why_unavailable` tells a missing build, driver or device from a broken one.
    """
    try:
        return _count()
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
        BackendError: if there is no CUDA build or no device, or the device fails.
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
    try:
        _module().nearest_neighbors(queries, bank, distances, indices)
    except RuntimeError as error:
        raise BackendError(
            f"[cuda] the search of {queries.shape} queries in a bank of {bank.shape} failed on the "
            f"device: {error}. Use pyad_edge.ops.nearest_neighbors, which needs none."
        ) from error
    return distances, indices


def _count() -> int:
    module = _module()
    try:
        return int(module.device_count())
    except RuntimeError as error:
        raise BackendError(
            f"[cuda] the CUDA driver does not answer: {error}. Look at nvidia-smi; the CPU kernels "
            "work without it."
        ) from error


def _module() -> Any:
    try:
        return importlib.import_module(MODULE)
    except ModuleNotFoundError as error:
        if error.name != MODULE:
            raise _does_not_load(error) from error
        raise BackendError(
            "[cuda] this installation was built without CUDA. Put nvcc on PATH and install from "
            "source with: pip install . --config-settings=cmake.define.PYAD_CUDA=ON"
        ) from error
    except ImportError as error:
        raise _does_not_load(error) from error


def _does_not_load(error: ImportError) -> BackendError:
    return BackendError(
        f"[cuda] the CUDA kernels are installed but do not load: {error}. Install the library that "
        "is named, or install pyad_edge again on this machine."
    )
