"""Feature maps of several levels to one descriptor per patch."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pyad_edge.ops._banded import bilinear_upsample
from pyad_edge.ops._native import native

__all__ = ["AggregationPlan", "Variant", "level_taps", "output_dim", "patch_aggregation"]

Array = NDArray[np.float32]
Variant = Literal["official", "average", "sum"]


class AggregationPlan:
    """The linear map from feature maps to patch descriptors, ready to be applied.

    Thread-safe and immutable. Making one for the same settings again costs nothing.

    Args:
        channels: C_l of every level, the finest level first.
        variant: ``"official"`` (3x3 windows, adaptive average pools), ``"average"`` (3x3 mean and
            concatenation) or ``"sum"`` (no window, levels added); see :func:`patch_aggregation`.
        pre_dim: descriptor length per level; only for ``"official"``.
        target_dim: length of the result; only for ``"official"``.

    Attributes:
        dim: D, the length of a descriptor.

    Raises:
        ValueError: if a setting is missing, superfluous or out of range.
    """

    def __init__(
        self,
        channels: Sequence[int],
        *,
        variant: Variant = "official",
        pre_dim: int | None = None,
        target_dim: int | None = None,
    ) -> None:
        """Compose the pools, or take the map from the cache."""
        self.channels = tuple(int(c) for c in channels)
        self.variant = variant
        self.dim = output_dim(
            self.channels, variant=variant, pre_dim=pre_dim, target_dim=target_dim
        )
        self._native = _native_plan(self.channels, variant, pre_dim, self.dim)

    @property
    def handle(self) -> Any:
        """The native plan, for kernels that take one."""
        return self._native

    def __call__(self, features: Sequence[Array], *, out: Array | None = None) -> Array:
        """Aggregate feature maps; see :func:`patch_aggregation`.

        Args:
            features: one (N, C_l, h_l, w_l) float32 array per level.
            out: C-contiguous float32 (N, h, w, D) to write into.

        Returns:
            (N, h, w, D) float32 on the grid of the first level.

        Raises:
            TypeError: if an array is not float32.
            ValueError: if a shape does not fit.
        """
        maps = _checked(features, self.channels)
        N, _, h, w = maps[0].shape
        shape = (N, h, w, self.dim)
        if out is None:
            out = np.empty(shape, np.float32)
        elif out.dtype != np.float32 or out.shape != shape or not out.flags.carray:
            raise ValueError(
                f"[patch_aggregation] expected out as a writable C-contiguous float32 array "
                f"{shape}, got {out.dtype} {out.shape} with strides {out.strides}."
            )
        rows: list[Any] = []
        columns: list[Any] = []
        for level in maps:
            same = level.shape[2:] == (h, w)
            rows.append(None if same else bilinear_upsample(level.shape[2], h))
            columns.append(None if same else bilinear_upsample(level.shape[3], w))
        native.patch_aggregation(self._native, maps, rows, columns, out)
        return out


def patch_aggregation(
    features: Sequence[Array],
    *,
    variant: Variant = "official",
    pre_dim: int | None = None,
    target_dim: int | None = None,
) -> Array:
    """Aggregate feature maps of several levels into one descriptor per patch of the first level.

    ``"official"``, as in PatchCore's public code: 3x3 windows with zero padding; windows of deeper
    levels resized bilinearly to the first level's grid; each level's C_l * 9 values pooled
    adaptively to ``pre_dim``, the levels stacked and pooled again to ``target_dim``. Computed in
    closed form: 3x3 stencils at each level's own resolution, up-sampled at the end.

    ``"average"``: a 3x3 mean per level (padding zeros counted), resized bilinearly, concatenated.

    ``"sum"``: levels of equally many channels, resized bilinearly, added. For networks that end in
    a linear map of the descriptors, level by level, such as a folded ReConPatch.

    Source: PatchCore (Roth et al., 2022), eqs. 1-3. NaN spreads to every patch that sees it.

    Args:
        features: one (N, C_l, h_l, w_l) float32 array per level, the finest level first.
        variant: ``"official"``, ``"average"`` or ``"sum"``.
        pre_dim: descriptor length per level; only for ``"official"``.
        target_dim: length of the result; only for ``"official"``.

    Returns:
        (N, h, w, D) float32, C-contiguous, on the grid of the first level.

    Raises:
        TypeError: if an array is not float32.
        ValueError: if a shape or setting does not fit.
    """
    channels = [f.shape[1] if isinstance(f, np.ndarray) and f.ndim == 4 else 0 for f in features]
    maps = _checked(features, channels)
    plan = AggregationPlan(channels, variant=variant, pre_dim=pre_dim, target_dim=target_dim)
    return plan(maps)


def output_dim(
    channels: Sequence[int],
    *,
    variant: Variant = "official",
    pre_dim: int | None = None,
    target_dim: int | None = None,
) -> int:
    """D, the length of a descriptor, for levels of these numbers of channels.

    Raises:
        ValueError: if a setting is missing, superfluous or out of range.
    """
    if len(channels) == 0 or any(c < 1 for c in channels):
        raise ValueError(
            "[patch_aggregation] expected at least one level, each with at least one channel, got "
            f"channels={list(channels)}."
        )
    if variant in ("average", "sum"):
        if pre_dim is not None or target_dim is not None:
            raise ValueError(
                f"[patch_aggregation] the variant {variant!r} keeps all channels and takes neither "
                f"pre_dim nor target_dim, got {pre_dim} and {target_dim}. Leave them out, or "
                "choose the variant 'official'."
            )
        if variant == "sum" and len(set(channels)) > 1:
            raise ValueError(
                "[patch_aggregation] the variant 'sum' adds levels of equally many channels, got "
                f"channels={list(channels)}. Choose the variant 'average'."
            )
        return int(channels[0]) if variant == "sum" else sum(channels)
    if variant != "official":
        raise ValueError(
            f"[patch_aggregation] expected variant 'official', 'average' or 'sum', got {variant!r}."
        )
    if pre_dim is None or target_dim is None or pre_dim < 1 or target_dim < 1:
        raise ValueError(
            "[patch_aggregation] the variant 'official' needs pre_dim and target_dim of at least "
            f"1, got {pre_dim} and {target_dim}. The paper's own values are 1024 and 1024."
        )
    return int(target_dim)


def _checked(features: Sequence[Array], channels: Sequence[int]) -> list[Array]:
    """The feature maps, C-contiguous, after all checks."""
    if len(features) == 0:
        raise ValueError("[patch_aggregation] expected at least one level of features, got none.")
    if len(features) != len(channels):
        raise ValueError(
            f"[patch_aggregation] expected {len(channels)} levels of features, got "
            f"{len(features)}. Was the plan made for another backbone?"
        )
    for index, (level, C) in enumerate(zip(features, channels, strict=True)):
        if not isinstance(level, np.ndarray) or level.dtype != np.float32:
            found = getattr(level, "dtype", type(level).__name__)
            raise TypeError(
                f"[patch_aggregation] expected level {index} as a float32 array, got {found}."
            )
        wanted = f"(N, {C or 'C'}, h, w)"
        if level.ndim != 4 or 0 in level.shape[1:] or level.shape[1] != C:
            raise ValueError(
                f"[patch_aggregation] expected level {index} of shape {wanted}, got {level.shape}. "
                "Was the plan made for another backbone?"
            )
        if len(level) != len(features[0]):
            raise ValueError(
                f"[patch_aggregation] expected level {index} to hold {len(features[0])} pictures, "
                f"as level 0 does, got {len(level)}."
            )
    return [np.ascontiguousarray(level) for level in features]


def level_taps(
    index: int,
    channels: Sequence[int],
    *,
    variant: Variant,
    pre_dim: int | None = None,
    target_dim: int | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """One level's part of the linear map, before the level is resized: its weights that are not 0.

    Args:
        index: of the level.
        channels, variant, pre_dim, target_dim: as for :class:`AggregationPlan`.

    Returns:
        (dim, flat, weight) of n entries, sorted: output ``dim`` takes ``weight`` times channel
        ``flat // 9`` at position ``flat % 9`` (row by row) of its 3x3 window, zeros outside.

    Raises:
        ValueError: if a setting is missing, superfluous or out of range.
    """
    D = output_dim(channels, variant=variant, pre_dim=pre_dim, target_dim=target_dim)
    C = channels[index]
    if variant == "average":
        dim = sum(channels[:index]) + np.repeat(np.arange(C), 9)
        return dim, np.arange(9 * C), np.full(9 * C, 1.0 / 9.0)
    if variant == "sum":  # each channel's centre
        return np.arange(C), 9 * np.arange(C) + 4, np.ones(C)
    return _official_level(index, len(channels), C, pre_dim or 0, D)


@lru_cache(maxsize=32)
def _native_plan(
    channels: tuple[int, ...], variant: Variant, pre_dim: int | None, target_dim: int
) -> Any:
    given = {"pre_dim": pre_dim, "target_dim": target_dim if variant == "official" else None}
    levels = []
    for index, C in enumerate(channels):
        dim, flat, weight = level_taps(index, channels, variant=variant, **given)
        if len(dim) == 0:
            raise ValueError(f"[patch_aggregation] level {index} reaches no output dimension.")
        position = (flat % 9).astype(np.int32)
        channel = (flat // 9).astype(np.int32)
        entries = (dim.astype(np.int32), channel, position, weight.astype(np.float32))
        levels.append((C, *entries))
    return native.AggregationPlan(target_dim, levels)


def _official_level(
    index: int, levels: int, channels: int, pre_dim: int, target_dim: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """One level's part of both pools composed: (dim, channel * 9 + position, weight), sorted.

    Adaptive average pooling from n to m takes, for output i, the mean of the inputs
    [floor(i n / m), ceil((i + 1) n / m)).
    """
    dims: list[NDArray[np.int64]] = []
    flats: list[NDArray[np.int64]] = []
    weights: list[NDArray[np.float64]] = []
    stacked, window = levels * pre_dim, channels * 9
    for d in range(index * target_dim // levels, -(-(index + 1) * target_dim // levels)):
        first, last = d * stacked // target_dim, -(-(d + 1) * stacked // target_dim)
        begin, end = max(first - index * pre_dim, 0), min(last - index * pre_dim, pre_dim)
        if begin >= end:
            continue
        lowest = begin * window // pre_dim
        weight = np.zeros(-(-end * window // pre_dim) - lowest)
        for p in range(begin, end):
            a, b = p * window // pre_dim, -(-(p + 1) * window // pre_dim)
            weight[a - lowest : b - lowest] += 1.0 / ((last - first) * (b - a))
        dims.append(np.full(len(weight), d))
        flats.append(lowest + np.arange(len(weight)))
        weights.append(weight)
    return np.concatenate(dims), np.concatenate(flats), np.concatenate(weights)
