"""How far a figure from few pictures can be trusted: bootstrap over the held-out pictures.

A held-out picture brings its own score and those of its synthetic defects, so pictures are drawn,
not scores. All candidates are judged on the same draws: what two of them find hard alike does not
blur their difference.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Interval", "draws_of", "interval", "resampled", "wins_of"]

Array = NDArray[np.float64]
DRAWS = 2000
LEVEL = (2.5, 97.5)


@dataclass(frozen=True)
class Interval:
    """A figure and its 95 % bootstrap interval."""

    value: float
    low: float
    high: float


def wins_of(good: Array, defective: Array) -> Array:
    """How often a defect scores above a good picture, ties one half.

    Args:
        good: (n,) scores of the held-out pictures as they are.
        defective: (n, d) scores of each with d synthetic defects, one at a time.

    Returns:
        (n, n): good picture i against the defects of picture j. Its mean is the image AUROC.
    """
    above = defective[None] > good[:, None, None]
    equal = defective[None] == good[:, None, None]
    return np.asarray((above + 0.5 * equal).mean(axis=2))


def draws_of(n: int, *, seed: int = 0, draws: int = DRAWS) -> Array:
    """(draws, n): how often each of n pictures is in each draw with replacement."""
    return np.random.default_rng(seed).multinomial(n, np.full(n, 1.0 / n), draws).astype(float)


def resampled(wins: Array, draws: Array) -> Array:
    """(draws,) image AUROC of every draw.

    Args:
        wins: (n, n) of :func:`wins_of`.
        draws: (draws, n) of :func:`draws_of`.
    """
    return np.asarray(((draws @ wins) * draws).sum(axis=1) / len(wins) ** 2)


def interval(value: float, values: Array) -> Interval:
    """A figure with the percentile interval of its draws."""
    low, high = np.percentile(values, LEVEL)
    return Interval(float(value), float(low), float(high))
