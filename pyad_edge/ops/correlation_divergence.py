"""Symmetric KL divergence of softmax attention from a Gaussian around each patch."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from pyad_edge.ops._checks import finite_number, whole_sides
from pyad_edge.ops._native import native

__all__ = ["DivergencePlan", "correlation_divergence"]

MAX_PATCHES = 1 << 24

Array = NDArray[np.float32]


class DivergencePlan:
    """Divergences of one shape into memory of the caller's, without allocations. Thread-safe.

    Args:
        grid: (h, w), the patches of a picture.
        heads, d: of the queries.
        shared: whether all pictures have the same keys.

    Attributes:
        scratch: how many float32 a call needs to work in.
    """

    def __init__(self, grid: tuple[int, int], *, heads: int, d: int, shared: bool) -> None:
        self.grid, self.heads, self.d, self.shared = grid, heads, d, shared
        self.scratch: int = native.correlation_scratch(1, heads, *grid, d, shared)

    def write(
        self,
        queries: Array,
        keys: Array | None,
        sigma_x: Array,
        sigma_y: Array,
        *,
        scratch: Array,
        per_head: Array,
        divergence: Array,
    ) -> None:
        """Divergences of one picture; see :func:`correlation_divergence`.

        Args:
            queries, keys, sigma_x, sigma_y: as there with N = 1, C-contiguous float32.
            scratch: (``scratch``,) float32.
            per_head: (1, heads, L) float32, written.
            divergence: (1, L) float32, written.

        Raises:
            ValueError: if a shape or a value does not fit, or a dot product overflows float32.
        """
        if keys is None or keys.ndim != (3 if self.shared else 4):
            found = None if keys is None else keys.shape
            raise ValueError(
                f"[correlation_divergence] expected keys that are "
                f"{'the same for all pictures' if self.shared else 'of the picture'}, got {found}."
            )
        arrays = {"queries": queries, "keys": keys, "sigma_x": sigma_x, "sigma_y": sigma_y}
        _, sides, scale = checked_shapes(
            *(array.shape for array in arrays.values()), grid=self.grid, scale=None
        )
        prepared = [checked_values(name, array) for name, array in arrays.items()]
        native.correlation_divergence(*prepared, *sides, scale, scratch, per_head, divergence)
        if not native.all_finite(divergence):
            raise overflow(divergence)


def correlation_divergence(
    queries: Array,
    keys: Array,
    sigma_x: Array,
    sigma_y: Array,
    *,
    grid: tuple[int, int],
    scale: float | None = None,
) -> tuple[Array, Array]:
    """Compare each patch's attention with a Gaussian around the patch.

    Equivalent to ``S = softmax(scale * queries @ keys.T)``, ``T`` = the Gaussian of ``sigma_x``
    and ``sigma_y`` over the grid with rows that sum to 1, and
    ``((S - T) * (log(S + 1e-4) - log(T + 1e-4))).sum(-1)``; no (L, L) array is made. Source: FOD
    (Yao et al., 2023), eqs. 4-6 and 9, the 1e-4 as in its code.

    Args:
        queries: (N, heads, L, d) float32, finite; L = h * w patches, row by row.
        keys: (N, heads, L, d) float32, finite: intra-correlation. Or (heads, L, d), the same for
            all pictures: inter-correlation with the reference.
        sigma_x: (N, heads, L) float32, positive: horizontal spread of the target, in patches.
        sigma_y: (N, heads, L) float32, positive: its vertical spread.
        grid: (h, w), the patches of a picture.
        scale: factor of the logits; ``1 / sqrt(d)`` if not given.

    Returns:
        divergence: (N, L) float32, in nats, the mean over the heads.
        per_head: (N, heads, L) float32, that of each head.

    Raises:
        TypeError: if an array is not float32.
        ValueError: if a shape, ``grid``, ``scale`` or a value does not fit, or a dot product
            overflows float32.
    """
    arrays = {"queries": queries, "keys": keys, "sigma_x": sigma_x, "sigma_y": sigma_y}
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray) or array.dtype != np.float32:
            found = getattr(array, "dtype", type(array).__name__)
            raise TypeError(f"[correlation_divergence] expected {name} as float32, got {found}.")
    (N, heads, L, d), sides, scale = checked_shapes(
        *(array.shape for array in arrays.values()), grid=grid, scale=scale
    )
    prepared = [checked_values(name, array) for name, array in arrays.items()]
    divergence = np.empty((N, L), np.float32)
    per_head = np.empty((N, heads, L), np.float32)
    shape = (N, heads, *sides, d, keys.ndim == 3)
    scratch = np.empty(native.correlation_scratch(*shape), np.float32)
    native.correlation_divergence(*prepared, *sides, scale, scratch, per_head, divergence)
    if not native.all_finite(divergence):
        raise overflow(divergence)
    return divergence, per_head


def checked_shapes(
    queries: tuple[int, ...],
    keys: tuple[int, ...],
    sigma_x: tuple[int, ...],
    sigma_y: tuple[int, ...],
    *,
    grid: tuple[int, int],
    scale: float | None,
) -> tuple[tuple[int, int, int, int], tuple[int, ...], float]:
    """(N, heads, L, d), (h, w) and the scale, of shapes and settings that fit each other."""
    if len(queries) != 4 or 0 in queries[1:]:
        raise ValueError(
            "[correlation_divergence] expected queries of shape (N, heads, L, d), got "
            f"{queries}. Split (N, L, heads * d) with .reshape and .swapaxes(1, 2)."
        )
    N, heads, L, d = queries
    sides = whole_sides(grid)
    if sides is None or len(sides) != 2 or math.prod(sides) != L or L > MAX_PATCHES:
        raise ValueError(
            "[correlation_divergence] expected grid as (h, w) with h * w = "
            f"{L} patches (at most {MAX_PATCHES}), got {grid!r}."
        )
    if keys not in (queries, queries[1:]):
        raise ValueError(
            f"[correlation_divergence] expected keys of shape {queries}, or {queries[1:]} shared "
            f"by all pictures, got {keys}."
        )
    for name, shape in (("sigma_x", sigma_x), ("sigma_y", sigma_y)):
        if shape != (N, heads, L):
            raise ValueError(
                f"[correlation_divergence] expected {name} of shape {(N, heads, L)}, one for each "
                f"picture, head and patch, got {shape}."
            )
    if scale is None:
        scale = 1.0 / math.sqrt(d)
    if not (finite_number(scale) and 1e-30 <= scale <= 1e30):
        raise ValueError(
            f"[correlation_divergence] expected scale from 1e-30 to 1e30, got {scale!r}."
        )
    return (N, heads, L, d), sides, float(scale)


def checked_values(name: str, values: Array) -> Array:
    """The values, C-contiguous, finite, and positive if they are a sigma."""
    values = np.ascontiguousarray(values)
    if not native.all_finite(values):
        at = tuple(int(i) for i in np.argwhere(~np.isfinite(values))[0])
        raise ValueError(
            f"[correlation_divergence] expected finite {name}, got {values[at]} at {at}. A network "
            "that overflows gives such values; they are never scored."
        )
    if name.startswith("sigma") and values.size and not values.min() > 0:
        at = tuple(int(i) for i in np.argwhere(values <= 0)[0])
        raise ValueError(
            f"[correlation_divergence] expected positive {name}, got {values[at]} at {at}."
        )
    return values


def overflow(divergence: Array) -> ValueError:
    """The error for divergences that are not all finite, of inputs that are."""
    n, i = np.argwhere(~np.isfinite(divergence))[0]
    return ValueError(
        "[correlation_divergence] a dot product of a query and a key overflows float32 (first for "
        f"patch {i} of picture {n}). Scale queries and keys down."
    )
