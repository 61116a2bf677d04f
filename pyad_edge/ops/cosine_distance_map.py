"""Pairs of feature maps to one map of their cosine distances, its maximum and its mean."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyad_edge.ops._banded import upsample_and_smooth
from pyad_edge.ops._checks import MAX_SIDE, finite_number, whole_sides
from pyad_edge.ops._native import native
from pyad_edge.ops.anomaly_map import MAX_SIGMA

__all__ = ["CosineMapPlan", "cosine_distance_map"]

MIN_WEIGHT, MAX_WEIGHT = 1e-6, 1e6

Array = NDArray[np.float32]


class CosineMapPlan:
    """Maps of one size into memory of the caller's: :func:`cosine_distance_map` without its arrays.

    Thread-safe.

    Args:
        size: (H, W) of the maps, in pixels, each at most 16384.
        sigma: of the Gaussian, in pixels of the map, at most 256.
        align_corners: see :func:`cosine_distance_map`.

    Raises:
        TypeError: if ``align_corners`` is no truth value.
        ValueError: if ``size`` or ``sigma`` does not fit.
    """

    def __init__(
        self, size: tuple[int, int], *, sigma: float = 4.0, align_corners: bool = True
    ) -> None:
        sides, _, _ = _levels([(1, 1)], size=size, sigma=sigma, align_corners=align_corners)
        self.size = (sides[0], sides[1])
        self.sigma = float(sigma)
        self.align_corners = bool(align_corners)

    def write(
        self,
        encoder: Sequence[Array],
        decoder: Sequence[Array],
        *,
        maps: Array,
        maxima: Array,
        means: Array,
        weights: Sequence[float] | None = None,
    ) -> None:
        """Write the maps of N pictures, their maxima and their means.

        Args:
            encoder, decoder, weights: as for :func:`cosine_distance_map`.
            maps: (N, H, W) float32, as the next two C-contiguous.
            maxima, means: (N,) float32.

        Raises:
            TypeError, ValueError: as :func:`cosine_distance_map`, and where an output does not fit.
        """
        sources = _checked(encoder, decoder)
        N = len(sources[0][0])
        fits = maps.shape == (N, *self.size) and maxima.shape == means.shape == (N,)
        if N == 0 or not fits:
            raise ValueError(
                f"[cosine_distance_map] expected at least one picture and maps of shape "
                f"{(N, *self.size)}, got maps {maps.shape}, maxima {maxima.shape} and means "
                f"{means.shape}."
            )
        factors = _factors(weights, len(sources))
        _, levels, bands = _levels(
            [a.shape[2:] for a, _ in sources],
            size=self.size,
            sigma=self.sigma,
            align_corners=self.align_corners,
        )
        pairs = [
            (*_same_layout(a, b), factor, level)
            for (a, b), factor, level in zip(sources, factors, levels, strict=True)
        ]
        fault = native.cosine_distance_map(pairs, bands, maps, maxima, means)
        if fault is not None:
            raise ValueError(_explain(sources, *fault))


def cosine_distance_map(
    encoder: Sequence[Array],
    decoder: Sequence[Array],
    *,
    size: tuple[int, int],
    sigma: float = 4.0,
    align_corners: bool = True,
    weights: Sequence[float] | None = None,
) -> tuple[Array, Array, Array]:
    """Sum the up-sampled cosine distances of several pairs of feature maps and smooth the sum.

    Equivalent to::

        d = [1 - torch.nn.functional.cosine_similarity(a, b, dim=1, eps=1e-8) for a, b in pairs]
        up = [interpolate(x[:, None], size, mode="bilinear", align_corners=...) for x in d]
        maps = scipy.ndimage.gaussian_filter(sum(up), sigma, mode="reflect", axes=(-2, -1))

    each picture on its own. Up-sampling and Gaussian are one banded matrix per axis and level.
    A zero vector has distance 1 to everything, another zero vector included.

    Source: ReContrast (Guo et al., 2023), eq. 1 and sections 2.1 and 2.5: six pairs, three for
    RD4AD, image score the maximum. ``align_corners=True``, sigma 4 and the mean as image score of
    ISIC-like tasks are those of its public code.

    Args:
        encoder: one (N, C_k, h_k, w_k) float32 array per pair, finite. Planes (C-contiguous
            pictures) and channels-last arrays seen as (N, C, h, w) are read in place, whatever
            the stride from picture to picture; others are copied.
        decoder: the same number of arrays, each of its partner's shape.
        size: (H, W) of the map, in pixels, each at most 16384.
        sigma: of the Gaussian, in pixels of the map, at most 256; 0 leaves the sum as it is.
        align_corners: whether corner pixels of map and features coincide (True), or the corners
            of their areas do (False), as in ``torch.nn.functional.interpolate``.
        weights: of the pairs, 0 or from 1e-6 to 1e6; 1 each where left out.

    Returns:
        maps: (N, H, W) float32.
        maxima: (N,) float32, the largest value of each map.
        means: (N,) float32, the mean of each map.

    Raises:
        TypeError: if an array is not float32.
        ValueError: if a shape or setting does not fit, a feature is not finite, or a squared norm
            leaves the range of float32.
    """
    sources = _checked(encoder, decoder)
    factors = _factors(weights, len(sources))
    plan = CosineMapPlan(size, sigma=sigma, align_corners=align_corners)
    N = len(sources[0][0])
    maps = np.empty((N, *plan.size), np.float32)
    maxima = np.empty(N, np.float32)
    means = np.empty(N, np.float32)
    if N > 0:
        plan.write(encoder, decoder, maps=maps, maxima=maxima, means=means, weights=factors)
    return maps, maxima, means


def _levels(
    grids: Sequence[tuple[int, ...]], *, size: tuple[int, int], sigma: float, align_corners: bool
) -> tuple[tuple[int, ...], list[int], list[tuple[Any, Any]]]:
    """(H, W), the level of each pair, and (rows, columns) of each level; pairs of a size share one.

    Raises:
        TypeError: if ``align_corners`` is no truth value.
        ValueError: if ``size`` or ``sigma`` does not fit.
    """
    sides = whole_sides(size)
    if sides is None or len(sides) != 2:
        raise ValueError(
            f"[cosine_distance_map] expected size as (H, W) in whole pixels from 1 to {MAX_SIDE}, "
            f"got {size!r}."
        )
    if not (finite_number(sigma) and 0.0 <= sigma <= MAX_SIGMA):
        raise ValueError(
            f"[cosine_distance_map] expected sigma of 0 to {MAX_SIGMA:g} pixels, got {sigma!r}."
        )
    if not isinstance(align_corners, (bool, np.bool_)):
        raise TypeError(
            f"[cosine_distance_map] expected align_corners as True or False, got {align_corners!r}."
        )
    different = list(dict.fromkeys(grids))
    corners = bool(align_corners)
    bands = [
        (
            upsample_and_smooth(h, sides[0], float(sigma), corners),
            upsample_and_smooth(w, sides[1], float(sigma), corners),
        )
        for h, w in different
    ]
    return sides, [different.index(grid) for grid in grids], bands


def _checked(encoder: Sequence[Array], decoder: Sequence[Array]) -> list[tuple[Array, Array]]:
    """The pairs, after all checks of types and shapes."""
    if len(encoder) == 0 or len(encoder) != len(decoder):
        raise ValueError(
            "[cosine_distance_map] expected at least one pair of feature maps, as many of the "
            f"encoder as of the decoder, got {len(encoder)} and {len(decoder)}."
        )
    pairs = list(zip(encoder, decoder, strict=True))
    for k, pair in enumerate(pairs):
        for name, a in zip(("encoder", "decoder"), pair, strict=True):
            if not isinstance(a, np.ndarray) or a.dtype != np.float32:
                found = getattr(a, "dtype", type(a).__name__)
                raise TypeError(
                    f"[cosine_distance_map] expected the {name} map of pair {k} as a float32 "
                    f"array, got {found}."
                )
            if a.ndim != 4 or 0 in a.shape[1:]:
                raise ValueError(
                    f"[cosine_distance_map] expected the {name} map of pair {k} of shape "
                    f"(N, C, h, w), got {a.shape}. Add the batch axis of one picture with a[None]."
                )
        if pair[0].shape != pair[1].shape:
            raise ValueError(
                f"[cosine_distance_map] expected both maps of pair {k} of one shape, got "
                f"{pair[0].shape} and {pair[1].shape}. Are the lists in the same order?"
            )
        if len(pair[0]) != len(pairs[0][0]):
            raise ValueError(
                f"[cosine_distance_map] expected pair {k} to hold {len(pairs[0][0])} pictures, as "
                f"pair 0 does, got {len(pair[0])}."
            )
    return pairs


def _factors(weights: Sequence[float] | None, count: int) -> list[float]:
    if weights is None:
        return [1.0] * count
    factors = list(weights)
    fit = all(finite_number(f) and (f == 0 or MIN_WEIGHT <= f <= MAX_WEIGHT) for f in factors)
    if len(factors) != count or not fit:
        raise ValueError(
            f"[cosine_distance_map] expected {count} weights, one a pair, each 0, or "
            f"{MIN_WEIGHT:g} to {MAX_WEIGHT:g}, got {factors}."
        )
    return [float(factor) for factor in factors]


def _same_layout(a: Array, b: Array) -> tuple[Array, Array]:
    """Both as planes or both channels last, copied only where they are not."""
    if _in_place(a, (0, 2, 3, 1)) and _in_place(b, (0, 2, 3, 1)):
        return a, b
    planes = (0, 1, 2, 3)
    return (
        a if _in_place(a, planes) else np.ascontiguousarray(a),
        b if _in_place(b, planes) else np.ascontiguousarray(b),
    )


def _in_place(a: Array, axes: tuple[int, ...]) -> bool:
    """Whether each picture lies in one piece, its axes in this order."""
    if len(a) == 0:
        return True
    flags = a.transpose(axes)[0].flags
    return bool(flags.c_contiguous and flags.aligned and a.strides[0] % a.itemsize == 0)


def _explain(
    pairs: list[tuple[Array, Array]], pair: int, picture: int, row: int, column: int
) -> str:
    """Why the first location that the kernel refused breaks its limits."""
    where = f"in pair {pair}, picture {picture}, at row {row}, column {column}"
    for name, a in zip(("encoder", "decoder"), pairs[pair], strict=True):
        vector = a[picture, :, row, column]
        if not np.isfinite(vector).all():
            channel = int(np.argmin(np.isfinite(vector)))
            return (
                f"[cosine_distance_map] expected finite features, got {vector[channel]} {where}, "
                f"channel {channel} of the {name} map. Something before the map failed; a map of "
                "it would hide that."
            )
    return (
        f"[cosine_distance_map] expected features whose squared norm stays below 3.4e38, got more "
        f"{where}. Divide the features by a constant; the distance does not change."
    )
