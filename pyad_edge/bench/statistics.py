"""Latencies as the figures that people ask for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["PERCENTILES", "Latency", "median_interval", "summarize"]

PERCENTILES = (50.0, 90.0, 99.0, 99.9)
DRAWS = 2000


@dataclass(frozen=True)
class Latency:
    """A distribution of latencies, in milliseconds.

    Attributes:
        count: latencies behind it. With fewer than 1,000 of them p99.9 is close to the largest.
        p50, p90, p99, p99_9, max, mean: of the latencies.
        jitter: mean absolute difference of two latencies in a row (as RFC 3550 sums it up).
    """

    count: int
    p50: float
    p90: float
    p99: float
    p99_9: float
    max: float
    mean: float
    jitter: float


def summarize(latencies: Sequence[float] | NDArray[np.float64]) -> Latency:
    """Percentiles (linear interpolation, as NumPy's default) of at least one latency in ms.

    Raises:
        ValueError: if there is none, or one is not finite.
    """
    values = np.asarray(latencies, np.float64)
    if not values.size or not np.isfinite(values).all():
        raise ValueError(
            f"[bench] expected at least one finite latency, got {values.size} values of which "
            f"{int(np.isfinite(values).sum())} are finite. Did the clock stop?"
        )
    p50, p90, p99, p99_9 = (float(value) for value in np.percentile(values, PERCENTILES))
    return Latency(
        count=values.size,
        p50=p50,
        p90=p90,
        p99=p99,
        p99_9=p99_9,
        max=float(values.max()),
        mean=float(values.mean()),
        jitter=float(np.abs(np.diff(values)).mean()) if values.size > 1 else 0.0,
    )


def median_interval(values: Sequence[float] | NDArray[np.float64]) -> tuple[float, float, float]:
    """Median and its 95 % bootstrap interval, with a fixed seed."""
    sample = np.asarray(values, np.float64)
    draws = np.random.default_rng(0).choice(sample, (DRAWS, len(sample)))
    low, high = np.percentile(np.median(draws, axis=1), (2.5, 97.5))
    return float(np.median(sample)), float(low), float(high)
