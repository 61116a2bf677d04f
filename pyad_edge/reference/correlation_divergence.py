"""Plain NumPy form of :mod:`pyad_edge.ops.correlation_divergence`: every (L, L) matrix in full."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["EPS", "correlation_divergence", "target_correlation"]

EPS = 1e-4

Array = NDArray[np.float64]


def correlation_divergence(
    queries: NDArray[np.float32],
    keys: NDArray[np.float32],
    sigma_x: NDArray[np.float32],
    sigma_y: NDArray[np.float32],
    *,
    grid: tuple[int, int],
    scale: float | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return (N, L) divergences and those of each head, (N, heads, L)."""
    if scale is None:
        scale = 1 / np.sqrt(queries.shape[-1])
    logits = scale * (queries.astype(np.float64) @ np.swapaxes(keys.astype(np.float64), -1, -2))
    attention = np.exp(logits - logits.max(axis=-1, keepdims=True))
    attention /= attention.sum(axis=-1, keepdims=True)
    target = target_correlation(sigma_x, sigma_y, grid)
    difference = np.log(attention + EPS) - np.log(target + EPS)
    per_head: Array = ((attention - target) * difference).sum(axis=-1)
    return per_head.mean(axis=1).astype(np.float32), per_head.astype(np.float32)


def target_correlation(
    sigma_x: NDArray[np.float32], sigma_y: NDArray[np.float32], grid: tuple[int, int]
) -> Array:
    """The Gaussian around each patch, (N, heads, L, L); each row sums to 1."""
    y, x = np.divmod(np.arange(grid[0] * grid[1]), grid[1])
    with np.errstate(over="ignore"):  # far away by a tiny sigma: exp gives the 0 that is meant
        u = (x - x[:, None]) / sigma_x.astype(np.float64)[..., None]
        v = (y - y[:, None]) / sigma_y.astype(np.float64)[..., None]
        target: Array = np.exp(-0.5 * (u * u + v * v))
    target /= target.sum(axis=-1, keepdims=True)
    return target
