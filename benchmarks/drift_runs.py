"""Streams of measured parts, and the charts of the drift monitor over a whole one at once."""

from __future__ import annotations

import math
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pyad_edge.drift.charts import KS_EVERY, KS_WINDOW, ks_distance
from pyad_edge.drift.light import LIGHTS, MEASURES, discriminant, halves
from pyad_edge.drift.limits import (
    HORIZON,
    allowance,
    cusum_limit,
    ks_limit,
    long_run_variance,
    normal_scores,
    share_of,
)

CALIBRATION = 100
LOT = 25  # parts
INPUTS = (*MEASURES, "position_x", "position_y")
CHARTS = (*INPUTS, "score", *LIGHTS, "score_ks", "rejects")
Values = NDArray[np.float64]
Table = dict[str, Values]


class Stream(NamedTuple):
    """What a stream draws from.

    Attributes:
        tables: by case, by measure: (n,) over pictures.
        moves: by chart of light: (n, measures).
        kind: ``same``, ``held`` or ``lots``.
        learn: parts that are learned.
    """

    tables: dict[str, Table]
    moves: Table
    kind: str
    learn: int

    def pools(self, rng: np.random.Generator) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Pictures in the order of learning, and those that the stream draws from."""
        count = len(self.tables["good"]["brightness"])
        if self.kind == "held":
            order = rng.permutation(count)
            return order[: self.learn], order[self.learn :]
        return self.draw(np.arange(count), self.learn, rng), np.arange(count)

    def draw(
        self, pool: NDArray[np.intp], parts: int, rng: np.random.Generator
    ) -> NDArray[np.intp]:
        """Pictures of so many parts."""
        if self.kind != "lots":
            return rng.choice(pool, parts)
        # A lot has the pictures of a third of the order by brightness.
        brightness = self.tables["good"]["brightness"][pool]
        ordered = pool[np.argsort(brightness)]
        lots = -(-parts // LOT)
        width = len(pool) // 3
        starts = rng.integers(-width, len(pool), lots)  # so that all pictures are as frequent
        places = starts[:, None] + rng.integers(0, width, (lots, LOT))
        return np.asarray(ordered[places % len(pool)].ravel()[:parts])


def first_alarm(z: Values, k: float, h: float, *, upward: bool = False) -> float:
    """Frames until a side of the CUSUM passes h; infinity if it does not."""
    best = math.inf
    for side in (z,) if upward else (z, -z):
        total = np.cumsum(side - k)
        over = total - np.minimum.accumulate(np.minimum(total, 0.0)) > h
        best = min(best, int(over.argmax()) + 1 if over.any() else math.inf)
    return best


def first_alarms(
    stream: Stream, case: str, *, before: int, after: int, seed: int
) -> dict[str, float]:
    """One stream: a reference is learned, then come good parts, then drifted ones.

    Returns:
        By chart: parts from the first that was not learned to the alarm; infinity if none came.
    """
    rng = np.random.default_rng(seed)
    good, bad = stream.tables["good"], stream.tables[case]
    learned, pool = stream.pools(rng)
    parts = stream.draw(pool, before + after, rng)
    learned_table = {name: good[name][learned] for name in INPUTS}
    table = {
        name: np.concatenate([good[name][parts[:before]], bad[name][parts[before:]]])
        for name in INPUTS
    }
    found = {}
    for name in INPUTS:
        found[name] = _cusum(learned_table[name], table[name], share_of(name, CHARTS))
    for name in LIGHTS:
        first, second = halves(len(learned))
        columns = np.stack([learned_table[m] for m in MEASURES], axis=1)
        weights = discriminant(columns[first], stream.moves[name][learned].mean(axis=0))
        values = np.stack([table[m] for m in MEASURES], axis=1) @ weights
        reference = columns[second] @ weights
        found[name] = _cusum(reference, values, share_of(name, CHARTS), upward=True)
    return found | _scores(before + after, stream.learn, rng)


def _cusum(reference: Values, values: Values, allowed: float, *, upward: bool = False) -> float:
    ordered = np.sort(reference)
    spread = long_run_variance(normal_scores(reference, ordered))
    pictures = len(reference) / spread
    limit = _limit(_fewer(pictures), allowed if upward else allowed / 2)
    z = normal_scores(values, ordered) / math.sqrt(spread)
    return first_alarm(z, allowance(pictures), limit, upward=upward)


def _fewer(pictures: float) -> float:
    """Up to 2 % fewer, so that few limits have to be computed; they are a little wider."""
    return 1.02 ** math.floor(math.log(pictures, 1.02))


@cache
def _limit(pictures: float, false_alarms: float) -> float:
    return cusum_limit(pictures, false_alarms)


def _scores(parts: int, learn: int, rng: np.random.Generator) -> dict[str, float]:
    """The charts of scores, on parts that are like the calibration pictures."""
    calibration = np.sort(rng.gamma(4.0, size=CALIBRATION))
    during, scores = rng.gamma(4.0, size=learn), rng.gamma(4.0, size=parts)
    spread = long_run_variance(normal_scores(during, np.sort(during)))
    z = normal_scores(scores, calibration) / math.sqrt(spread)
    limit = _limit(float(CALIBRATION), share_of("score", CHARTS) / 2)
    far = ks_limit(
        CALIBRATION, KS_WINDOW / spread, looks=HORIZON / KS_EVERY,
        false_alarms=share_of("score_ks", CHARTS),
    )  # fmt: skip
    looks = range(KS_WINDOW, parts + 1, KS_EVERY)
    distances = (ks_distance(scores[n - KS_WINDOW : n], calibration) for n in looks)
    return {
        "score": first_alarm(z, allowance(CALIBRATION), limit),
        "score_ks": next(
            (float(n) for n, d in zip(looks, distances, strict=True) if d > far), math.inf
        ),
    }
