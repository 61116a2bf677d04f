"""Head of FOD: reconstruction errors and correlations become a map and a score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyad_edge.buffers import ArrayPool
from pyad_edge.engine_manifest import CorrelationHead as HeadSettings
from pyad_edge.engine_manifest import CorrelationLevel
from pyad_edge.ops.anomaly_map import MapPlan
from pyad_edge.ops.correlation_divergence import DivergencePlan

__all__ = ["CorrelationHead", "reference_keys"]

Array = NDArray[np.float32]


def reference_keys(
    settings: HeadSettings, tensors: Mapping[str, NDArray[Any]]
) -> tuple[Array | None, ...]:
    """Keys (heads, L, d) of each level, of an engine's tensors; None: the network gives them."""
    return tuple(tensors.get(f"reference/keys/{k}") for k in range(len(settings.levels)))


class CorrelationHead:
    """Scores a network's reconstruction errors and correlations. Thread-safe.

    A patch's score is its error, the divergence of its inter-correlation from a Gaussian around
    it, or the error times (largest - own) softmax of the negative divergence over the picture's
    patches (Yao et al. 2023, eqs. 3, 6 and 12). Levels are up-sampled, averaged and smoothed; the
    picture's score is the maximum. No array of all pairs of patches is made.

    Args:
        settings: which outputs are read, and what the score is.
        keys: (heads, L, d) float32 of each level, finite; None: an output of the network.
        size: (H, W) of the map: the network's input.
        sigma: of the map's Gaussian, in pixels of it.
    """

    def __init__(
        self,
        settings: HeadSettings,
        keys: Sequence[Array | None],
        *,
        size: tuple[int, int],
        sigma: float,
    ) -> None:
        self.settings = settings
        self._keys = tuple(keys)
        self._plan = MapPlan(size, sigma=sigma)
        self._pool = ArrayPool()

    def write(self, outputs: Sequence[Array], *, maps: Array, maxima: Array, means: Array) -> Array:
        """Write maps, their maxima and means.

        Args:
            outputs: of the network, as the settings name them, float32 and C-contiguous.
            maps: (N, H, W) float32.
            maxima, means: (N,) float32.

        Returns:
            (N,) float32, the scores: ``maxima`` itself.

        Raises:
            ValueError: if a value is not finite or a shape does not fit.
        """
        N, (_, W) = len(maps), self._plan.size
        (more,) = self._pool.take((maps.shape, np.float32))
        for k, level in enumerate(self.settings.levels):
            h, w = level.grid
            patches, wide = self._pool.take(((N, h, w), np.float32), ((N, h, W), np.float32))
            self._level(outputs, k, level, patches.reshape(N, h * w))
            self._plan.write(patches, wide=wide, maps=more if k else maps, maxima=maxima)
            if k:
                maps += more
        if len(self.settings.levels) > 1:
            maps *= np.float32(1 / len(self.settings.levels))
            maps.max(axis=(1, 2), out=maxima)
        maps.mean(axis=(1, 2), out=means)
        return maxima

    def _level(
        self, outputs: Sequence[Array], k: int, level: CorrelationLevel, patches: Array
    ) -> None:
        """Scores of a level's patches, (N, L)."""
        if level.errors is not None:
            errors = outputs[level.errors]
            _check_patches(errors.shape, errors[0].size, level)
            if not np.isfinite(errors).all():
                raise ValueError(
                    f"[correlation] expected finite errors, got others at level {k}. A network "
                    "that overflows gives such values; they are never scored."
                )
            np.copyto(patches, errors.reshape(patches.shape))
        if level.queries is None or level.sigmas is None:
            return
        divergence = self._divergence(outputs, k, level, len(patches))
        if level.errors is None:
            np.copyto(patches, divergence)
            return
        # In float64: the difference of two shares is small beside them.
        share = np.exp(divergence.min(axis=1, keepdims=True) - divergence.astype(np.float64))
        share /= share.sum(axis=1, keepdims=True)
        np.multiply(
            patches, share.max(axis=1, keepdims=True) - share, out=patches, casting="unsafe"
        )

    def _divergence(
        self, outputs: Sequence[Array], k: int, level: CorrelationLevel, N: int
    ) -> Array:
        """(N, L) divergences, a picture at a time: its spreads lie in one piece."""
        queries, sigmas = outputs[level.queries or 0], outputs[level.sigmas or 0]
        _, heads, L, d = queries.shape
        _check_patches(queries.shape, L, level)
        fixed = self._keys[k]
        plan = DivergencePlan(level.grid, heads=heads, d=d, shared=level.keys is None)
        scratch, per_head, divergence = self._pool.take(
            ((plan.scratch,), np.float32), ((1, heads, L), np.float32), ((N, L), np.float32)
        )
        for n in range(N):
            own = fixed if level.keys is None else outputs[level.keys][n : n + 1]
            plan.write(
                queries[n : n + 1],
                own,
                sigmas[n : n + 1, 0],
                sigmas[n : n + 1, 1],
                scratch=scratch,
                per_head=per_head,
                divergence=divergence[n : n + 1],
            )
        return divergence


def _check_patches(shape: tuple[int, ...], found: int, level: CorrelationLevel) -> None:
    h, w = level.grid
    if found != h * w:
        raise ValueError(
            f"[correlation] expected {h} x {w} patches, got {found} (an output of shape {shape}). "
            "Softmax and threshold hold for the picture size of the training; train an engine for "
            "the other size."
        )
