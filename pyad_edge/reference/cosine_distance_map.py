"""Plain NumPy form of :mod:`pyad_edge.ops.cosine_distance_map`: distances, up-sample, sum, blur."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pyad_edge.reference.anomaly_map import anomaly_map, bilinear

__all__ = ["cosine_distance_map"]

EPS = 1e-8


def cosine_distance_map(
    encoder: Sequence[NDArray[np.float32]],
    decoder: Sequence[NDArray[np.float32]],
    *,
    size: tuple[int, int],
    sigma: float = 4.0,
    align_corners: bool = True,
    weights: Sequence[float] | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Return (N, H, W) maps, their (N,) maxima and their (N,) means."""
    total = np.zeros((len(encoder[0]), *size))
    for k, (a, b) in enumerate(zip(encoder, decoder, strict=True)):
        distances = _cosine_distances(a.astype(np.float64), b.astype(np.float64))
        for axis, side in ((1, size[0]), (2, size[1])):
            up = _corners if align_corners else bilinear
            distances = up(distances, side, axis)
        total += distances if weights is None else weights[k] * distances
    maps, _ = anomaly_map(total, size=size, sigma=sigma)  # type: ignore[arg-type]  # float64 kept
    return maps, maps.max(axis=(1, 2)), maps.mean(axis=(1, 2), dtype=np.float64).astype(np.float32)


def _cosine_distances(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N, C, h, w) twice to (N, h, w)."""
    norms = [np.maximum(np.sqrt((f * f).sum(axis=1)), EPS) for f in (a, b)]
    distances: NDArray[np.float64] = 1 - (a * b).sum(axis=1) / (norms[0] * norms[1])
    return distances


def _corners(values: NDArray[np.float64], new_size: int, axis: int) -> NDArray[np.float64]:
    """Interpolate along one axis; the first and last outputs are the first and last inputs."""
    at = np.linspace(0, values.shape[axis] - 1, new_size)
    return np.apply_along_axis(lambda line: np.interp(at, np.arange(len(line)), line), axis, values)
