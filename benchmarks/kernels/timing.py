"""Interleaved timing of contenders and the intervals of their ratios."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

LEAST_ROUNDS = 3
ROUND = 0.005  # seconds that one turn of a fast contender lasts, for the clock's sake
# Seconds that a contender runs untimed before each turn: OpenMP's threads go on spinning for some
# tens of milliseconds after their own work, and slow whoever comes next.
SETTLE = 0.05

Wait = Callable[[], None]


def interleaved(
    runs: Sequence[Callable[[], Any]], *, rounds: int, seconds: float, wait: Wait | None = None
) -> NDArray[np.float64]:
    """Time the contenders in turn, A B A B, each in the steady state of a loop of its own.

    Args:
        runs: contenders; each has run before.
        rounds: turns of each.
        seconds: no further round is begun after so long, once three are done.
        wait: returns when the device has finished; none for the CPU.

    Returns:
        (rounds, contenders) milliseconds per call.
    """
    finish = wait or (lambda: None)
    repeats = []
    for run in runs:
        start = time.perf_counter()
        run()
        finish()
        repeats.append(max(1, int(ROUND / (time.perf_counter() - start))))
    times: list[list[float]] = []
    begin = time.perf_counter()
    while len(times) < rounds:
        if len(times) >= LEAST_ROUNDS and time.perf_counter() - begin > seconds:
            break
        row = []
        for run, count in zip(runs, repeats, strict=True):
            settled = time.perf_counter() + (SETTLE if wait is None else 0.0)
            while time.perf_counter() < settled:
                run()
            start = time.perf_counter()
            for _ in range(count):
                run()
            finish()
            row.append((time.perf_counter() - start) / count * 1e3)
        times.append(row)
    return np.array(times)


def interval(ratios: NDArray[np.float64]) -> tuple[float, float]:
    """95 % bootstrap interval of the median."""
    draws = np.random.default_rng(0).choice(ratios, (2000, len(ratios)))
    low, high = np.percentile(np.median(draws, axis=1), (2.5, 97.5))
    return float(low), float(high)
