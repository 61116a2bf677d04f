"""More or less light, told apart from parts that are brighter or darker by themselves.

Brightness alone differs so much from part to part that a change of the lamp drowns in it. While
learning, every good frame is therefore also measured as it would look in a tenth more and a tenth
less light. Of all weighted sums of the measures, the one that this moves furthest against its
spread over good parts is Fisher's linear discriminant (The Use of Multiple Measurements in
Taxonomic Problems, 1936).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyad_edge.drift.charts import Crossing, ScoreCusum
from pyad_edge.drift.limits import long_run_variance, normal_scores
from pyad_edge.drift.statistics import measure_frame

__all__ = ["LIGHTS", "MEASURES", "LightChart", "discriminant", "halves", "light_moves", "relight"]

LIGHTS = {"light_up": 1.1, "light_down": 0.9}  # charts, and the light that each looks for
MEASURES = ("brightness", "contrast", "sharpness", "dark", "saturated")
_FULL = 0.98  # of the full scale; such pixels had more light than the camera can tell
_RIDGE = 0.03  # of each measure's variance: few parts cannot tell nearly equal measures apart


def relight(image: NDArray[Any], factor: float, *, full_scale: float) -> NDArray[Any]:
    """The frame in ``factor`` times the light.

    What is saturated stays so in less light too, as nobody knows how much of it was cut off.

    Args:
        image: any shape, uint8, uint16 or float32.
        factor: above 0.
        full_scale: largest value of the pixels.
    """
    if image.dtype == np.uint8:  # each of 256 levels once
        levels = np.arange(256, dtype=np.uint8)
        return np.asarray(_relit(levels, factor, full_scale)[image])
    return _relit(image, factor, full_scale)


def _relit(image: NDArray[Any], factor: float, full_scale: float) -> NDArray[Any]:
    lit = np.minimum(image.astype(np.float32) * np.float32(factor), np.float32(full_scale))
    if factor < 1.0:
        lit = np.where(image >= _FULL * full_scale, image, lit)
    return np.asarray(lit if image.dtype.kind == "f" else np.rint(lit)).astype(image.dtype)


def light_moves(
    image: NDArray[Any], values: Mapping[str, float], *, full_scale: float, mosaic: bool
) -> dict[str, list[float]]:
    """By chart: how far each of ``MEASURES`` moves where this frame has more or less light.

    Args:
        image: see ``measure_frame``.
        values: its measures as it is.
        full_scale: see ``measure_frame``.
        mosaic: see ``measure_frame``.
    """
    found = {}
    for chart, factor in LIGHTS.items():
        lit = relight(image, factor, full_scale=full_scale)
        there = measure_frame(lit, full_scale=full_scale, mosaic=mosaic).values
        found[chart] = [there[name] - values[name] for name in MEASURES]
    return found


def halves(count: int) -> tuple[slice, slice]:
    """Frames that the weights come from, and frames that the chart's reference comes from.

    Weights fit the parts they were made from too well; ranks among other parts know nothing of
    that, and the limits stay exact.
    """
    return slice(0, count // 2), slice(count // 2, count)


def discriminant(
    measures: NDArray[np.float64], move: Sequence[float] | NDArray[np.float64]
) -> NDArray[np.float64]:
    """Weights of the sum that ``move`` raises most against its spread over good parts.

    ``w = (S + ridge diag(S))^-1 move`` with the covariance S. A measure that the light does not
    move at all, as less light the saturated pixels, has no say: when it moves, it is for another
    reason, and would turn the alarm's direction round.

    Args:
        measures: (n, m) of good parts.
        move: (m,) mean change of each measure.

    Returns:
        (m,) weights; 0 for a measure that is not moved, or is the same in all parts and could not
        be judged.
    """
    spread = measures.std(axis=0)
    alive = (spread > 1e-9) & (np.asarray(move) != 0.0)
    if not alive.any():
        return np.zeros(len(spread))
    scaled = (measures[:, alive] - measures[:, alive].mean(axis=0)) / spread[alive]
    matrix = scaled.T @ scaled / len(scaled) + _RIDGE * np.eye(int(alive.sum()))
    weights = np.zeros(len(spread))
    wanted = np.asarray(move, np.float64)[alive] / spread[alive]
    weights[alive] = np.linalg.solve(matrix, wanted) / spread[alive]
    return weights


class LightChart:
    """One-sided CUSUM of the discriminant of more, or of less, light.

    Args:
        name: of ``LIGHTS``.
        columns: by measure, (n,) of the learned frames in order of time.
        move: (m,) what such light changes in ``MEASURES``, summed over frames or their mean.
        false_alarms: allowed.

    Attributes:
        spread: see ``ScoreCusum``.
        limit: of the chart.
    """

    def __init__(
        self,
        name: str,
        columns: Mapping[str, NDArray[np.float64]],
        move: NDArray[np.float64],
        *,
        false_alarms: float,
    ) -> None:
        self._direction = name.removeprefix("light_")
        table = np.stack([columns[measure] for measure in MEASURES], axis=1)
        first, second = halves(len(table))
        self.weights = discriminant(table[first], move)
        reference = table[second] @ self.weights
        self.spread = long_run_variance(normal_scores(reference, np.sort(reference)))
        self._cusum = ScoreCusum(
            reference,
            pictures=reference.size / self.spread,
            spread=self.spread,
            false_alarms=false_alarms,
            upward=True,
        )
        self.limit = self._cusum.limit
        self.restart = self._cusum.restart

    def add(self, values: Mapping[str, float], index: int, *, rejected: bool) -> Crossing | None:
        """Take the next frame's measures."""
        value = float(np.array([values[measure] for measure in MEASURES]) @ self.weights)
        found = self._cusum.add(value, index, rejected=rejected)
        return None if found is None else found._replace(direction=self._direction)
