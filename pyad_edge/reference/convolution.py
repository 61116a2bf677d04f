"""Plain NumPy form of :mod:`pyad_edge.ops.convolution`: every product, in float64."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["convolution"]

Array = NDArray[np.float32]


def convolution(
    pictures: Array,
    weights: Array,
    bias: Array | None = None,
    *,
    stride: tuple[int, int] = (1, 1),
    padding: tuple[int, int, int, int] = (0, 0, 0, 0),
    clip: tuple[float, float] = (-np.inf, np.inf),
) -> Array:
    """Return (N, K, h, w) sums over each window, clipped; padding is top, left, bottom, right."""
    top, left, bottom, right = padding
    P, Q = weights.shape[2:]
    padded = np.pad(pictures.astype(np.float64), ((0, 0), (0, 0), (top, bottom), (left, right)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (P, Q), axis=(2, 3))
    windows = windows[:, :, :: stride[0], :: stride[1]]  # (N, C, h, w, P, Q)
    sums = np.einsum("nchwpq,kcpq->nkhw", windows, weights.astype(np.float64))
    if bias is not None:
        sums += bias.astype(np.float64)[:, None, None]
    result: Array = np.clip(sums, *clip).astype(np.float32)
    return result
