"""Plain NumPy form of :mod:`pyad_edge.ops.anomaly_map`: up-sample, pad, convolve, one by one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["anomaly_map", "bilinear"]


def anomaly_map(
    patch_scores: NDArray[np.float32], *, size: tuple[int, int], sigma: float = 4.0
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return (N, H, W) maps and their (N,) maxima."""
    maps = patch_scores.astype(np.float64)
    for axis, side in ((1, size[0]), (2, size[1])):
        maps = _smooth(bilinear(maps, side, axis), sigma, axis)
    return maps.astype(np.float32), maps.max(axis=(1, 2)).astype(np.float32)


def bilinear(values: NDArray[np.float64], new_size: int, axis: int) -> NDArray[np.float64]:
    """Interpolate along one axis between half-pixel centres, clamped at the border."""
    size = values.shape[axis]
    at = np.clip((np.arange(new_size) + 0.5) * size / new_size - 0.5, 0, size - 1)
    low = np.floor(at).astype(int)
    high = np.minimum(low + 1, size - 1)
    shape = [1] * values.ndim
    shape[axis] = new_size
    fraction = (at - low).reshape(shape)
    result: NDArray[np.float64] = values.take(low, axis) * (1 - fraction)
    result += values.take(high, axis) * fraction
    return result


def _smooth(values: NDArray[np.float64], sigma: float, axis: int) -> NDArray[np.float64]:
    if sigma == 0:
        return values
    radius = int(4 * sigma + 0.5)
    widths = [(radius, radius) if a == axis else (0, 0) for a in range(values.ndim)]
    padded = np.pad(values, widths, mode="symmetric")
    kernel = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    kernel /= kernel.sum()
    return np.apply_along_axis(np.convolve, axis, padded, kernel, mode="valid")
