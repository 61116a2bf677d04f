"""Patch scores to a smooth map at the network's resolution, and its maximum."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pyad_edge.ops._banded import upsample_and_smooth
from pyad_edge.ops._checks import MAX_SIDE, finite_number, whole_sides
from pyad_edge.ops._native import native

__all__ = ["MapPlan", "anomaly_map"]

MAX_SIGMA = 256.0  # pixels, as in an engine's manifest

Array = NDArray[np.float32]


class MapPlan:
    """Maps of one size into memory of the caller's: :func:`anomaly_map` without its allocations.

    Thread-safe.

    Args:
        size: (H, W) of the maps, in pixels, each at most 16384.
        sigma: of the Gaussian, in pixels of the map, at most 256.

    Raises:
        ValueError: if ``size`` or ``sigma`` does not fit.
    """

    def __init__(self, size: tuple[int, int], *, sigma: float = 4.0) -> None:
        sides = whole_sides(size)
        if sides is None or len(sides) != 2:
            raise ValueError(
                f"[anomaly_map] expected size as (H, W) in whole pixels from 1 to {MAX_SIDE}, got "
                f"{size!r}."
            )
        if not (finite_number(sigma) and 0.0 <= sigma <= MAX_SIGMA):
            raise ValueError(
                f"[anomaly_map] expected sigma of 0 to {MAX_SIGMA:g} pixels, got {sigma!r}."
            )
        self.size = (sides[0], sides[1])
        self.sigma = float(sigma)

    def write(self, scores: Array, *, wide: Array, maps: Array, maxima: Array) -> None:
        """Up-sample and smooth (N, h, w) scores, which must be finite: nobody looks.

        Args:
            scores: (N, h, w) float32, as all of these C-contiguous.
            wide: (N, h, W) float32 scratch.
            maps: (N, H, W) float32, written.
            maxima: (N,) float32, written: the largest value of each map.

        Raises:
            TypeError: if an array is not float32 or not C-contiguous.
            ValueError: if the shapes do not fit each other.
        """
        rows = upsample_and_smooth(scores.shape[1], self.size[0], self.sigma)
        columns = upsample_and_smooth(scores.shape[2], self.size[1], self.sigma)
        native.anomaly_map(scores, rows, columns, wide, maps, maxima)


def anomaly_map(
    patch_scores: Array, *, size: tuple[int, int], sigma: float = 4.0
) -> tuple[Array, Array]:
    """Up-sample patch scores bilinearly and smooth them with a Gaussian.

    Equivalent to ``scipy.ndimage.gaussian_filter(upsampled, sigma, mode="reflect")`` on the map
    that ``torch.nn.functional.interpolate(mode="bilinear", align_corners=False)`` gives, each
    picture on its own. Both are folded into one banded matrix per axis. Source: PatchCore (Roth et
    al., 2022), section 3.3, sigma as in its official code.

    Args:
        patch_scores: (N, h, w) float32, finite.
        size: (H, W) of the map, in pixels, each at most 16384.
        sigma: of the Gaussian, in pixels of the map, at most 256; 0 leaves the up-sampled map as it
            is.

    Returns:
        maps: (N, H, W) float32, in the unit of the scores.
        maxima: (N,) float32, the largest value of each map.

    Raises:
        TypeError: if ``patch_scores`` is not float32.
        ValueError: if a shape, ``size`` or ``sigma`` does not fit, or a score is not finite.
    """
    plan = MapPlan(size, sigma=sigma)
    if not isinstance(patch_scores, np.ndarray) or patch_scores.dtype != np.float32:
        found = getattr(patch_scores, "dtype", type(patch_scores).__name__)
        raise TypeError(f"[anomaly_map] expected patch_scores as a float32 array, got {found}.")
    if patch_scores.ndim != 3 or 0 in patch_scores.shape[1:]:
        raise ValueError(
            f"[anomaly_map] expected patch_scores of shape (N, h, w), got {patch_scores.shape}. "
            "Add the batch axis of a single map with scores[None]."
        )
    if not native.all_finite(scores := np.ascontiguousarray(patch_scores)):
        n, y, x = np.argwhere(~np.isfinite(scores))[0]
        raise ValueError(
            f"[anomaly_map] expected finite patch_scores, got {scores[n, y, x]} in map {n} at row "
            f"{y}, column {x}. Something before the map failed; a map of it would hide that."
        )
    (N, h, _), (H, W) = scores.shape, plan.size
    maps = np.empty((N, H, W), np.float32)
    maxima = np.empty(N, np.float32)
    plan.write(scores, wide=np.empty((N, h, W), np.float32), maps=maps, maxima=maxima)
    return maps, maxima
