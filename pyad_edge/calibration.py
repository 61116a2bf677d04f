"""Thresholds and p-values from the scores of normal pictures that the fit never saw.

Split-conformal calibration: if a normal frame's score s and the n calibration scores are
exchangeable, then ``P(s > r-th largest calibration score) <= r / (n + 1)``, with equality where
scores never tie (Vovk, Gammerman and Shafer, Algorithmic Learning in a Random World, 2005; Lei et
al., Distribution-Free Predictive Inference for Regression, 2018). The probability runs over the
draw of the calibration pictures too: it is an average over such calibrations, not a promise for
this one.

Everywhere, a frame is anomalous where ``score > threshold.value``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pyad_edge.errors import DataError, SettingError
from pyad_edge.ops._checks import finite_number

__all__ = ["Threshold", "fixed_threshold", "p_value", "threshold_for"]

# A tail fitted to fewer scores than this wanders too much; with few pictures it reaches below the
# upper quartile to find them.
_MIN_TAIL = 5


@dataclass(frozen=True)
class Threshold:
    """A threshold and what stands behind it.

    Attributes:
        value: scores above it are anomalous.
        false_reject: target rate of normal parts rejected; None where the value was set by hand.
        normal_pictures: calibration scores behind it.
        normal_above: how many of those lie above it.
        method: ``conformal`` keeps the target by a proof; ``extrapolated`` reaches beyond the
            scores on the assumption of an exponential tail; ``fixed`` was set by hand.
        guaranteed_false_reject: rate that holds on average whatever the scores' distribution is;
            None for ``fixed``.
    """

    value: float
    false_reject: float | None
    normal_pictures: int
    normal_above: int
    method: Literal["conformal", "extrapolated", "fixed"]
    guaranteed_false_reject: float | None

    def statement(self) -> str:
        """What the threshold means, in one sentence for people."""
        start = f"Scores above {self.value:.6g} are anomalous"
        backing = f"{self.normal_pictures:,} normal pictures held out of the fit"
        if self.false_reject is None or self.guaranteed_false_reject is None:
            return (
                f"{start}: the value was set by hand, {self.normal_above:,} of {backing} score "
                "above it, and no false-reject rate is guaranteed."
            )
        target, sure = _percent(self.false_reject), _percent(self.guaranteed_false_reject)
        if self.method == "conformal":
            return (
                f"{start}: {backing} guarantee that on average at most {sure} of normal parts "
                f"like them are rejected, within the target of {target}."
            )
        return (
            f"{start}: {backing} guarantee that on average at most {sure} of normal parts "
            f"like them are rejected; the target of {target} is extrapolated, and guaranteeing it "
            f"takes {_pictures_needed(self.false_reject):,} normal pictures."
        )


def threshold_for(normal_scores: ArrayLike, false_reject: float) -> Threshold:
    """The threshold that rejects at most ``false_reject`` of normal frames.

    With ``r = floor(false_reject * (n + 1)) >= 1`` it is the r-th largest score, by the theorem
    above. With fewer pictures nothing can be proved at that rate: an exponential tail then
    continues the scores above their upper quartile u, never below the largest score, at
    ``u + mean_excess * log(P(score > u) / false_reject)`` (peaks over threshold with shape 0;
    Davison and Smith, Models for Exceedances over High Thresholds, 1990).

    Args:
        normal_scores: (n,) finite scores of normal pictures outside the fit, in any order; n >= 2.
        false_reject: target rate, above 0 and at most 0.5.

    Raises:
        SettingError: if the rate is no number or out of range.
        DataError: if there are fewer than two scores, or some are not finite.
    """
    rate: object = float(false_reject) if finite_number(false_reject) else false_reject
    if not (isinstance(rate, float) and 0 < rate <= 0.5):
        raise SettingError(
            f"[threshold_for] expected a false-reject rate above 0 and at most 0.5, got {rate!r}. "
            "0.001 rejects one normal part in a thousand."
        )
    scores = _sorted_scores(normal_scores)
    n = len(scores)
    rank = math.floor(_exact(rate) * (n + 1))
    if rank >= 1:
        value = float(scores[n - rank])
        return Threshold(value, rate, n, _above(scores, value), "conformal", rank / (n + 1))
    value = max(_exponential_tail(scores, rate), float(scores[-1]))
    return Threshold(value, rate, n, _above(scores, value), "extrapolated", 1 / (n + 1))


def fixed_threshold(value: float, normal_scores: ArrayLike) -> Threshold:
    """A threshold set by hand, beside the normal scores it will be judged by.

    Args:
        value: the threshold, finite.
        normal_scores: (n,) as in :func:`threshold_for`.

    Raises:
        SettingError: if ``value`` is no finite number.
        DataError: as in :func:`threshold_for`.
    """
    if not finite_number(value):
        raise SettingError(f"[fixed_threshold] expected a finite threshold, got {value!r}.")
    scores = _sorted_scores(normal_scores)
    return Threshold(float(value), None, len(scores), _above(scores, value), "fixed", None)


def p_value(score: float, sorted_normal_scores: NDArray[np.floating]) -> float:
    """Conformal p-value ``(1 + #{normal scores >= score}) / (n + 1)``.

    Of normal frames, at most a share p has a p-value of p or less, on average.

    Args:
        score: of the frame.
        sorted_normal_scores: (n,) ascending.

    Raises:
        ValueError: if ``score`` is NaN; a frame without a score has no p-value.
    """
    if math.isnan(score):
        raise ValueError("[p_value] expected a score, got NaN. The frame was not measured.")
    # float64 on both sides: a float32 comparison could turn "just above" into a tie.
    scores = np.asarray(sorted_normal_scores, np.float64)
    n = len(scores)
    below = int(np.searchsorted(scores, np.float64(score), side="left"))
    return (1 + n - below) / (n + 1)


def _sorted_scores(normal_scores: ArrayLike) -> NDArray[np.float64]:
    scores = np.sort(np.asarray(normal_scores, np.float64), axis=None)
    if len(scores) < 2:
        raise DataError(
            f"[calibration] a threshold needs the scores of at least 2 normal pictures held out of "
            f"the fit, got {len(scores)}. Add normal pictures."
        )
    if not np.isfinite(scores).all():
        bad = int((~np.isfinite(scores)).sum())
        raise DataError(
            f"[calibration] {bad} of {len(scores)} normal scores are NaN or infinite, so no "
            "threshold can rest on them. Look for damaged pictures, or another backbone."
        )
    return scores


def _exponential_tail(scores: NDArray[np.float64], false_reject: float) -> float:
    n = len(scores)
    tail = min(n - 1, max(_MIN_TAIL, n // 4))
    u = float(scores[n - tail - 1])
    mean_excess = float(np.mean(scores[n - tail :] - u))
    share_above = (tail + 1) / (n + 1)  # of u, by the same theorem
    return u + mean_excess * math.log(share_above / false_reject)


def _above(scores: NDArray[np.float64], value: float) -> int:
    return int((scores > value).sum())


def _exact(rate: float) -> Fraction:
    """The decimal that was typed: 0.29 * 100 is 28.999999999999996 in binary."""
    return Fraction(repr(rate))


def _pictures_needed(false_reject: float) -> int:
    return math.ceil(1 / _exact(false_reject)) - 1


def _percent(rate: float) -> str:
    return f"{100 * rate:.3g} %"
