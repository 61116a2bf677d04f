"""Limits of the charts, from how many false alarms are allowed and how much is known.

All follow from ``HORIZON`` good parts with at most ``FALSE_ALARMS`` expected over all charts
together. What a reference does not know about itself is part of the calculation: a chart with few
pictures behind it is wider, never more often wrong.
"""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "FALSE_ALARMS",
    "HORIZON",
    "allowance",
    "binomial_upper",
    "cusum_limit",
    "kolmogorov_q",
    "ks_limit",
    "long_run_variance",
    "normal_scores",
    "share_of",
]

HORIZON = 100_000  # good parts
FALSE_ALARMS = 0.4  # expected in them, over all charts; below 1 for what approximations leave

# Shares of that allowance. Light varies most from part to part, so its charts need sensitivity.
_WEIGHTS = {"light_up": 2.0, "light_down": 2.0}

_SMALLEST_ALLOWANCE = 0.15
_REFERENCE_ERRORS = 3.5  # standard errors of the reference's centre that the allowance covers
_OVERSHOOT = 1.166  # twice 0.583, Siegmund, Sequential Analysis (1985), section 10.2


def share_of(chart: str, charts: tuple[str, ...]) -> float:
    """False alarms that one of these charts may expect in ``HORIZON`` good parts."""
    total = sum(_WEIGHTS.get(name, 1.0) for name in charts)
    return FALSE_ALARMS * _WEIGHTS.get(chart, 1.0) / total


def allowance(pictures: float) -> float:
    """k of a CUSUM: half the shift that it is tuned to, and never within the reference's error.

    Args:
        pictures: behind the reference, independent ones.
    """
    return max(_SMALLEST_ALLOWANCE, _REFERENCE_ERRORS / math.sqrt(pictures))


def cusum_limit(pictures: float, false_alarms: float) -> float:
    """h of one side of a CUSUM of normal scores, ``S = max(0, S + z - k)``, alarm where S > h.

    The scores' centre is known from ``pictures`` only: it lies off by e ~ N(0, 1 / pictures). Given
    e, alarms come at the rate 1 / ARL of Siegmund's formula (1985, eq. 2.56) at the drift e - k;
    the limit makes the mean over e of P(an alarm in HORIZON) equal to ``false_alarms``.

    Args:
        pictures: behind the reference, independent ones.
        false_alarms: expected in ``HORIZON`` good parts, of this side.
    """
    k, nodes = allowance(pictures), np.linspace(-8.0, 8.0, 1601)
    weights = np.exp(-0.5 * nodes * nodes)
    weights /= weights.sum()
    drift = k - nodes / math.sqrt(pictures)  # towards zero; negative: the chart runs away

    def expected(h: float) -> float:
        b = h + _OVERSHOOT
        x = np.clip(2.0 * drift * b, -50.0, 700.0)
        safe = np.where(np.abs(drift) < 1e-6, 1e-6, drift)
        length = np.where(np.abs(drift) < 1e-6, b * b, (np.expm1(x) - x) / (2.0 * safe * safe))
        return float(weights @ -np.expm1(-HORIZON / np.maximum(length, 1.0)))

    low, high = 0.5, 4000.0
    for _ in range(60):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if expected(middle) > false_alarms else (low, middle)
    return high


def kolmogorov_q(value: float) -> float:
    """P(K > value) of Kolmogorov's distribution: ``2 Σ (-1)^(j-1) exp(-2 j² value²)``."""
    if value < 0.2:  # where the sum converges slowly, the probability is 1 to 12 digits
        return 1.0
    terms = [(-1) ** (j - 1) * math.exp(-2.0 * (j * value) ** 2) for j in range(1, 101)]
    return min(1.0, max(0.0, 2.0 * math.fsum(terms)))


def ks_limit(reference: int, window: float, *, looks: float, false_alarms: float) -> float:
    """Two-sample Kolmogorov-Smirnov distance for which ``looks`` tests expect few false alarms.

    The union bound over all looks: it holds although neighbouring windows and the one reference
    make them dependent. The two-sample statistic, not the one-sample one: the reference is a sample
    too.

    Args:
        reference: scores in the reference.
        window: independent scores in the window.
        looks: tests in ``HORIZON`` good parts.
        false_alarms: expected in them.

    Returns:
        A distance; above 1 where so few scores can never be that far apart.
    """
    wanted = min(1.0, false_alarms / looks)
    low, high = 0.2, 10.0
    for _ in range(60):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if kolmogorov_q(middle) > wanted else (low, middle)
    return high * math.sqrt((reference + window) / (reference * window))


def binomial_upper(count: int, frames: int, *, confidence: float) -> float:
    """Upper bound of a rate seen ``count`` times in ``frames`` (Clopper and Pearson, 1934)."""
    if count >= frames:
        return 1.0
    j = np.arange(count + 1)
    choose = np.array(
        [math.lgamma(frames + 1) - math.lgamma(i + 1) - math.lgamma(frames - i + 1) for i in j]
    )
    low, high = count / frames, 1.0
    for _ in range(60):
        rate = 0.5 * (low + high)
        below = np.exp(choose + j * math.log(rate) + (frames - j) * math.log1p(-rate)).sum()
        low, high = (rate, high) if below > 1.0 - confidence else (low, rate)
    return high


def normal_scores(values: NDArray[np.float64], ordered: NDArray[np.float64]) -> NDArray[np.float64]:
    """Normal scores of values by their ranks in a reference (van der Waerden, 1952).

    ``Φ⁻¹((# below + # equal / 2 + 1/2) / (n + 1))``: in control standard normal whatever the
    values' distribution is, and bounded: one frame can only say so much.

    Args:
        values: any shape.
        ordered: (n,) ascending reference.
    """
    below = np.searchsorted(ordered, values, side="left")
    ranks = below + np.searchsorted(ordered, values, side="right")  # twice the middle rank
    found: NDArray[np.float64] = _table(ordered.size)[ranks]
    return found


_tables: dict[int, NDArray[np.float64]] = {}


def _table(n: int) -> NDArray[np.float64]:
    if n not in _tables:
        inverse = NormalDist().inv_cdf
        _tables[n] = np.array([inverse((0.5 * r + 0.5) / (n + 1)) for r in range(2 * n + 1)])
    return _tables[n]


def long_run_variance(scores: NDArray[np.float64]) -> float:
    """Variance of sums of neighbouring scores over that of independent ones; at least 1.

    ``1 + 2 Σ ρ_k`` up to the first pair of lags whose sum is not positive (Geyer, Practical Markov
    Chain Monte Carlo, 1992: initial positive sequence). Of few waves of ripple their height is
    badly known, so what exceeds 1 gets a standard error more: ``sqrt(2 (2 lags + 1) / n)`` of it
    (Madras and Sokal, The Pivot Algorithm, 1988, appendix C).

    Args:
        scores: (n,) in order of time.
    """
    centred = scores - scores.mean()
    power = float(centred @ centred)
    if power <= 0.0:
        return 1.0
    total, n, used = 1.0, scores.size, 0
    for lag in range(1, n // 2 - 1, 2):
        pair = sum(float(centred[j:] @ centred[: n - j]) for j in (lag, lag + 1)) / power
        if pair <= 0.0:
            break
        total, used = total + 2.0 * pair, lag + 1
    error = math.sqrt(2.0 * (2 * used + 1) / n)
    return max(1.0, 1.0 + (total - 1.0) * (1.0 + error))
