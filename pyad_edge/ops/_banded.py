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

__all__ = [
    "Taps",
    "bilinear_upsample",
    "resize_antialiased",
    "resize_taps",
    "smooth_taps",
    "upsample_and_smooth",
    "upsample_taps",
]

Matrix = NDArray[np.float64]
# Of each output: its first input, (outputs,), and the weights from there on, (outputs, taps).
Taps = tuple[NDArray[np.int64], Matrix]


@lru_cache(maxsize=64)
def resize_antialiased(size: int, new_size: int, begin: int, end: int) -> Any:
    """Outputs [begin, end) of an antialiased bilinear resize from ``size`` to ``new_size``.

    A triangle of half-width max(1, size / new_size) stands at each output's half-pixel centre; the
    weights of the inputs under it are normalised, which is also the border rule (as in Pillow).
    """
    return _banded(size, *resize_taps(size, new_size, begin, end))


def resize_taps(size: int, new_size: int, begin: int, end: int) -> Taps:
    """What :func:`resize_antialiased` is made of."""
    scale = size / new_size
    width = max(1.0, scale)
    centres = scale * (np.arange(begin, end) + 0.5)  # (outputs,)
    first = np.maximum((centres - width + 0.5).astype(np.int64), 0)
    last = np.minimum((centres + width + 0.5).astype(np.int64), size)
    inputs = first[:, None] + np.arange(int((last - first).max()))  # (outputs, taps)
    weights = np.maximum(1.0 - np.abs(inputs + 0.5 - centres[:, None]) / width, 0.0)
    weights[inputs >= last[:, None]] = 0.0
    weights /= weights.sum(axis=1, keepdims=True)
    return first, weights


@lru_cache(maxsize=64)
def bilinear_upsample(size: int, new_size: int) -> Any:
    """Plain bilinear interpolation from ``size`` to ``new_size`` (half-pixel centres, clamped)."""
    return _banded(size, *upsample_taps(size, new_size))


@lru_cache(maxsize=64)
def upsample_and_smooth(size: int, new_size: int, sigma: float, align_corners: bool = False) -> Any:
    """Bilinear interpolation followed by a Gaussian of ``sigma`` outputs, as one map.

    With ``align_corners`` the first and last outputs lie on the first and last inputs; otherwise
    the interpolation is that of :func:`bilinear_upsample`.

    The Gaussian is cut at radius int(4 sigma + 0.5), normalised, and sees the signal mirrored about
    the edge of the border sample (``scipy.ndimage``'s mode "reflect").
    """
    return _banded(size, *smooth_taps(size, new_size, sigma, align_corners))


def smooth_taps(size: int, new_size: int, sigma: float, align_corners: bool = False) -> Taps:
    """What :func:`upsample_and_smooth` is made of."""
    first, weights = upsample_taps(size, new_size, align_corners)
    if sigma == 0.0:
        return first, weights
    radius = int(4.0 * sigma + 0.5)
    offsets = np.arange(-radius, radius + 1)
    gaussian = np.exp(-0.5 * (offsets / sigma) ** 2)
    gaussian /= gaussian.sum()
    outputs = np.arange(new_size)
    mirrored = (outputs + offsets[:, None]) % (2 * new_size)  # (offsets, outputs)
    source = np.minimum(mirrored, 2 * new_size - 1 - mirrored)
    # Only the band of the matrix is kept: whole, it would have 10^8 entries for a large picture.
    begin = first[source].min(axis=0)
    width = int((first[source].max(axis=0) - begin).max()) + 2
    smooth = np.zeros((new_size, width))
    for sampled, weight in zip(source, gaussian, strict=True):
        place = first[sampled] - begin
        smooth[outputs, place] += weight * weights[sampled, 0]
        smooth[outputs, place + 1] += weight * weights[sampled, 1]  # 0 beyond the last input
    return begin, smooth


def upsample_taps(size: int, new_size: int, align_corners: bool = False) -> Taps:
    """What :func:`bilinear_upsample` is made of; a tap beyond the last input has the weight 0."""
    if align_corners:  # a single output is the first input, as in torch
        centres = np.arange(new_size) * (size - 1) / max(new_size - 1, 1)
    else:
        centres = np.maximum((np.arange(new_size) + 0.5) * (size / new_size) - 0.5, 0.0)
    first = np.minimum(centres.astype(np.int64), size - 1)
    fraction = np.where(first == size - 1, 0.0, centres - first)
    return first, np.stack([1.0 - fraction, fraction], axis=1)


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
