"""Plain NumPy form of :mod:`pyad_edge.ops.patch_aggregation`: unfold, resize, pool, literally."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pyad_edge.reference.anomaly_map import bilinear

__all__ = ["adaptive_average_pool", "patch_aggregation", "unfold"]

Matrix = NDArray[np.float64]


def patch_aggregation(
    features: Sequence[NDArray[np.float32]],
    *,
    variant: Literal["official", "average", "sum"] = "official",
    pre_dim: int | None = None,
    target_dim: int | None = None,
) -> NDArray[np.float32]:
    """Return (N, h, w, D) patch descriptors on the grid of the first level."""
    h, w = features[0].shape[2:]
    levels = []
    for level in features:
        windows = unfold(level)  # (N, h_l, w_l, C, 9)
        if variant == "average":
            windows = windows.mean(axis=-1, keepdims=True)
        elif variant == "sum":
            windows = windows[..., 4:5]
        if level.shape[2:] != (h, w):
            windows = bilinear(bilinear(windows, h, 1), w, 2)
        windows = windows.reshape(*windows.shape[:3], -1)
        if pre_dim is not None:
            windows = adaptive_average_pool(windows, pre_dim)
        levels.append(windows)
    if variant == "sum":
        added: NDArray[np.float32] = np.sum(levels, axis=0).astype(np.float32)
        return added
    descriptors = np.concatenate(levels, axis=-1)
    if target_dim is not None:
        descriptors = adaptive_average_pool(descriptors, target_dim)
    result: NDArray[np.float32] = descriptors.astype(np.float32)
    return result


def unfold(level: NDArray[np.float32]) -> Matrix:
    """The 3x3 window around each position, zeros outside: (N, C, h, w) to (N, h, w, C, 9)."""
    h, w = level.shape[2:]
    padded = np.pad(level.astype(np.float64), ((0, 0), (0, 0), (1, 1), (1, 1)))
    shifted = [padded[:, :, i : i + h, j : j + w] for i in range(3) for j in range(3)]
    windows: Matrix = np.stack(shifted, axis=-1).transpose(0, 2, 3, 1, 4)
    return windows


def adaptive_average_pool(values: Matrix, new_size: int) -> Matrix:
    """Mean over [floor(i n / m), ceil((i + 1) n / m)) of the last axis, for each of m outputs."""
    n = values.shape[-1]
    parts = [
        values[..., i * n // new_size : -(-(i + 1) * n // new_size)].mean(axis=-1)
        for i in range(new_size)
    ]
    pooled: Matrix = np.stack(parts, axis=-1)
    return pooled
