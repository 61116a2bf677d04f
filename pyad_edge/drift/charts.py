"""The charts: two-sided CUSUM, sliding Kolmogorov-Smirnov, and a CUSUM of rejects."""

from __future__ import annotations

import math
from collections import deque
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pyad_edge.drift.limits import (
    HORIZON,
    allowance,
    binomial_upper,
    cusum_limit,
    ks_limit,
    normal_scores,
)

__all__ = [
    "KS_EVERY",
    "KS_WINDOW",
    "Crossing",
    "KsChart",
    "RejectChart",
    "ScoreCusum",
    "ks_distance",
]

KS_WINDOW, KS_EVERY = 200, 20
_CONFIDENCE = 0.999  # of the learned share of rejects
_NG_CLIP = 1.0  # what a rejected part may say about light and lens, in standard deviations


class Crossing(NamedTuple):
    """A chart's statistic beyond its limit."""

    direction: str
    statistic: float
    limit: float
    since: int  # index of a frame


class ScoreCusum:
    """Two CUSUMs of normal scores (Page, Continuous Inspection Schemes, 1954).

    Args:
        reference: (n,) values of good frames, in any order.
        pictures: independent ones among them.
        spread: variance of sums of neighbouring scores over that of independent ones; scores are
            divided by its root, so that slow ripple does not add up to an alarm.
        false_alarms: allowed, both sides together.
        upward: whether only a rise is looked for, with the whole allowance.
    """

    def __init__(
        self,
        reference: NDArray[np.float64],
        *,
        pictures: float,
        spread: float,
        false_alarms: float,
        upward: bool = False,
    ) -> None:
        self._ordered = np.sort(reference)
        self._scale = 1.0 / math.sqrt(spread)
        self._upward = upward
        self.allowance = allowance(pictures)
        self.limit = cusum_limit(pictures, false_alarms if upward else false_alarms / 2)
        self.restart()

    def restart(self) -> None:
        """Forget what was summed up."""
        self._up = self._down = 0.0
        self._up_since = self._down_since = -1

    def add(self, value: float, index: int, *, rejected: bool = False) -> Crossing | None:
        """Take the next frame's value.

        A run of defective parts is no drift of the camera: what a rejected part says is cut to one
        standard deviation. Where all parts are rejected the chart still alarms, later.
        """
        z = float(normal_scores(np.array([value]), self._ordered)[0])
        if rejected:
            z = min(_NG_CLIP, max(-_NG_CLIP, z))
        z *= self._scale
        if self._up <= 0.0:
            self._up_since = index
        if self._down <= 0.0:
            self._down_since = index
        self._up = max(0.0, self._up + z - self.allowance)
        self._down = max(0.0, self._down - z - self.allowance)
        if self._up > self.limit:
            return Crossing("up", self._up, self.limit, self._up_since)
        if self._down > self.limit and not self._upward:
            return Crossing("down", self._down, self.limit, self._down_since)
        return None


class KsChart:
    """Two-sample Kolmogorov-Smirnov distance of the last scores to the reference.

    Looks every 20 frames once 200 are there.

    Args:
        reference: (n,) scores.
        spread: see ``ScoreCusum``; the window counts for so many fewer scores.
        false_alarms: allowed.
    """

    def __init__(
        self, reference: NDArray[np.float64], *, spread: float, false_alarms: float
    ) -> None:
        self._ordered = np.sort(reference)
        self.limit = ks_limit(
            self._ordered.size,
            KS_WINDOW / spread,
            looks=HORIZON / KS_EVERY,
            false_alarms=false_alarms,
        )
        self.restart()

    def restart(self) -> None:
        """Empty the window."""
        self._window: deque[tuple[int, float]] = deque(maxlen=KS_WINDOW)
        self._seen = 0

    def add(self, score: float, index: int) -> Crossing | None:
        """Take the next frame's score."""
        self._window.append((index, score))
        self._seen += 1
        if len(self._window) < KS_WINDOW or self._seen % KS_EVERY:
            return None
        distance = ks_distance(np.array([s for _, s in self._window]), self._ordered)
        if distance <= self.limit:
            return None
        return Crossing("any", distance, self.limit, self._window[0][0])


def ks_distance(sample: NDArray[np.float64], ordered: NDArray[np.float64]) -> float:
    """Largest difference of two empirical distribution functions.

    Args:
        sample: (m,) in any order.
        ordered: (n,) ascending.
    """
    sample = np.sort(sample)
    both = np.concatenate([sample, ordered])
    first = np.searchsorted(sample, both, side="right") / sample.size
    second = np.searchsorted(ordered, both, side="right") / ordered.size
    return float(np.abs(first - second).max())


class RejectChart:
    """CUSUM of the log-likelihood ratio of more rejects than there were while learning.

    By Ville's inequality P(alarm in T frames) <= T exp(-limit), while the rate is at most p0: the
    upper 99.9 % bound of the learned rate. It is tuned to p1, two percent or a factor of two above.

    Args:
        rejects, frames: while learning.
        at_least: rate of rejects that is expected of good parts.
        false_alarms: allowed.
    """

    def __init__(self, rejects: int, frames: int, *, at_least: float, false_alarms: float) -> None:
        self.rate = max(at_least, binomial_upper(rejects, frames, confidence=_CONFIDENCE))
        self.rate = min(self.rate, 0.9)
        higher = min(0.95, max(2.0 * self.rate, self.rate + 0.02))
        self._reject = math.log(higher / self.rate)
        self._pass = math.log1p(-higher) - math.log1p(-self.rate)
        self.limit = math.log(HORIZON / false_alarms)
        self.restart()

    def restart(self) -> None:
        """Forget what was summed up."""
        self._sum, self._since = 0.0, -1

    def add(self, rejected: bool, index: int) -> Crossing | None:
        """Take the next frame's verdict."""
        if self._sum <= 0.0:
            self._since = index
        self._sum = max(0.0, self._sum + (self._reject if rejected else self._pass))
        if self._sum > self.limit:
            return Crossing("up", self._sum, self.limit, self._since)
        return None
