"""The thresholds in force: of the score, of the band for review below it, of the map."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from pyad_edge.calibration import Threshold, fixed_threshold, threshold_for
from pyad_edge.decision import map_rate
from pyad_edge.errors import SettingError

__all__ = ["Limits", "choose_limits"]


@dataclass(frozen=True)
class Limits:
    """Every threshold, swapped as one so that no frame sees a mixture.

    Attributes:
        score: above it a frame is ``NG``.
        review: above it, and not above ``score``, a frame is for ``REVIEW``; None: no such band.
        map_value: above it a pixel of the map is in the mask.
    """

    score: Threshold
    review: Threshold | None
    map_value: float

    @property
    def review_value(self) -> float | None:
        """The lower threshold as a number."""
        return None if self.review is None else self.review.value

    def statement(self) -> str:
        """What the thresholds mean, in sentences for people."""
        if self.review is None:
            return self.score.statement()
        if self.review.value >= self.score.value:
            return (
                f"{self.score.statement()} The band for review is empty: with so few normal "
                "pictures both rates give the same threshold."
            )
        share = (
            f"at most about {100 * self.review.false_reject:.3g} % of normal parts lie above that"
            if self.review.false_reject is not None
            else f"{self.review.normal_above:,} of the same pictures score above that"
        )
        return (
            f"{self.score.statement()} From {self.review.value:.6g} up to there they are for "
            f"review: {share}."
        )


def choose_limits(
    scores: NDArray[np.floating],
    map_maxima: NDArray[np.floating],
    *,
    false_reject: float | None,
    value: float | None,
    review: float | None = None,
) -> Limits:
    """Thresholds from the calibration pictures.

    Args:
        scores: (n,) of the calibration pictures, any order.
        map_maxima: (n,) largest map values of the same pictures.
        false_reject: target rate of normal parts that are ``NG``, 0 < rate <= 0.5.
        value: or a fixed score.
        review: in the same terms as the one that was given. Beside ``false_reject``, the rate of
            normal parts that are ``REVIEW`` or ``NG``: above ``false_reject``, at most 0.5. Beside
            ``value``, a fixed score below it.

    Raises:
        SettingError: unless exactly one of ``false_reject`` and ``value`` is given, every number
            can be used, and ``review`` lies on the side where more parts are caught.
    """
    if (false_reject is None) == (value is None):
        raise SettingError(
            "[set_threshold] expected either false_reject or a fixed value, got "
            f"false_reject={false_reject}, value={value}."
        )
    if false_reject is not None:
        limit = threshold_for(scores, false_reject)
        lower = None if review is None else threshold_for(scores, review)
        if review is not None and review <= false_reject:
            raise SettingError(
                f"[set_threshold] expected review as a rate above false_reject={false_reject}, got "
                f"{review}. It is the share of normal parts that are looked at or rejected, so it "
                "includes those that are rejected."
            )
    else:
        limit = fixed_threshold(cast(float, value), scores)
        lower = None if review is None else fixed_threshold(review, scores)
        if lower is not None and lower.value >= limit.value:
            raise SettingError(
                f"[set_threshold] expected review as a score below the threshold {limit.value}, "
                f"got {lower.value}. Parts between the two are for review."
            )
    return Limits(limit, lower, threshold_for(map_maxima, map_rate(limit)).value)
