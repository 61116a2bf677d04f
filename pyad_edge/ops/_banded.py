"""Resizing, up-sampling and smoothing along one axis as banded matrices, made in float64.

The kernels apply them in float32 (``csrc/include/pyad/banded.h``). Each map is made once per size
and kept; all of them are immutable, so threads share them.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyad_edge.ops._native import native

__all__ = ["bilinear_upsample", "resize_antialiased", "upsample_and_smooth"]

Matrix = NDArray[np.float64]


@lru_cache(maxsize=64)
def resize_antialiased(size: int, new_size: int, begin: int, end: int) -> Any:
    """Outputs [begin, end) of an antialiased bilinear resize from ``size`` to ``new_size``.

    A triangle of half-width max(1, size / new_size) stands at each output's half-pixel centre; the
    weights of the inputs under it are normalised, which is also the border rule (as in Pillow).
    """
    scale = size / new_size
    width = max(1.0, scale)
    centres = scale * (np.arange(begin, end) + 0.5)  # (outputs,)
    first = np.maximum((centres - width + 0.5).astype(np.int64), 0)
    last = np.minimum((centres + width + 0.5).astype(np.int64), size)
    inputs = first[:, None] + np.arange(int((last - first).max()))  # (outputs, taps)
    weights = np.maximum(1.0 - np.abs(inputs + 0.5 - centres[:, None]) / width, 0.0)
    weights[inputs >= last[:, None]] = 0.0
    weights /= weights.sum(axis=1, keepdims=True)
    return _banded(size, first, weights)


@lru_cache(maxsize=64)
def bilinear_upsample(size: int, new_size: int) -> Any:
    """Plain bilinear interpolation from ``size`` to ``new_size`` (half-pixel centres, clamped)."""
    first, weights = _bilinear(size, new_size)
    return _banded(size, first, weights)


@lru_cache(maxsize=64)
def upsample_and_smooth(size: int, new_size: int, sigma: float, align_corners: bool = False) -> Any:
    """Bilinear interpolation followed by a Gaussian of ``sigma`` outputs, as one map.

    With ``align_corners`` the first and last outputs lie on the first and last inputs; otherwise
    the interpolation is that of :func:`bilinear_upsample`.

    The Gaussian is cut at radius int(4 sigma + 0.5), normalised, and sees the signal mirrored about
    the edge of the border sample (``scipy.ndimage``'s mode "reflect").
    """
    first, weights = _bilinear(size, new_size, align_corners)
    if sigma == 0.0:
        return _banded(size, first, weights)
    dense = np.zeros((new_size, size))
    np.put_along_axis(dense, first[:, None], weights[:, :1], axis=1)
    if weights.shape[1] == 2:
        dense[np.arange(new_size), np.minimum(first + 1, size - 1)] += weights[:, 1]
    radius = int(4.0 * sigma + 0.5)
    offsets = np.arange(-radius, radius + 1)
    gaussian = np.exp(-0.5 * (offsets / sigma) ** 2)
    gaussian /= gaussian.sum()
    smooth = np.zeros_like(dense)
    for offset, weight in zip(offsets, gaussian, strict=True):
        mirrored = (np.arange(new_size) + offset) % (2 * new_size)
        smooth += weight * dense[np.minimum(mirrored, 2 * new_size - 1 - mirrored)]
    return _from_dense(smooth)


def _bilinear(
    size: int, new_size: int, align_corners: bool = False
) -> tuple[NDArray[np.int64], Matrix]:
    if align_corners:  # a single output is the first input, as in torch
        centres = np.arange(new_size) * (size - 1) / max(new_size - 1, 1)
    else:
        centres = np.maximum((np.arange(new_size) + 0.5) * (size / new_size) - 0.5, 0.0)
    first = np.minimum(centres.astype(np.int64), size - 1)
    fraction = np.where(first == size - 1, 0.0, centres - first)
    return first, np.stack([1.0 - fraction, fraction], axis=1)


def _from_dense(dense: Matrix) -> Any:
    """The band of a matrix (outputs, inputs), from the first to the last non-zero of each row."""
    used = dense != 0.0
    first = used.argmax(axis=1)
    last = dense.shape[1] - used[:, ::-1].argmax(axis=1)
    inputs = first[:, None] + np.arange(int((last - first).max()))
    weights = np.take_along_axis(dense, np.minimum(inputs, dense.shape[1] - 1), axis=1)
    weights[inputs >= last[:, None]] = 0.0
    return _banded(dense.shape[1], first, weights)


def _banded(size: int, first: NDArray[np.int64], weights: Matrix) -> Any:
    """The native map; zero weights at both ends of a run are dropped, so a copy is one tap of 1."""
    used = weights != 0.0
    skip = used.argmax(axis=1)
    count = weights.shape[1] - used[:, ::-1].argmax(axis=1) - skip
    taps = skip[:, None] + np.arange(int(count.max()))
    kept = np.take_along_axis(weights, np.minimum(taps, weights.shape[1] - 1), axis=1)
    kept[np.arange(kept.shape[1]) >= count[:, None]] = 0.0
    return native.Banded(
        size, (first + skip).astype(np.int32), count.astype(np.int32), kept.astype(np.float32)
    )
