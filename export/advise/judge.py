"""What a candidate's engine is worth: scores on held-out pictures, false rejects, latency, size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pyad_edge.bench.measure import in_turn
from pyad_edge.bench.statistics import Latency, summarize
from pyad_edge.export.advise.candidates import Candidate
from pyad_edge.export.advise.settings import AdviseSettings
from pyad_edge.export.advise.statistics import Interval, draws_of, interval, resampled, wins_of
from pyad_edge.export.progress import ProgressCall
from pyad_edge.export.synthetic import Frame
from pyad_edge.export.validation import validate
from pyad_edge.images import read_image
from pyad_edge.runtime import Runtime

__all__ = ["Judged", "Scored", "difference", "judge", "score_candidate"]

MAX_FRAMES = 16  # different ones that latency is measured on


@dataclass(frozen=True, eq=False)
class Scored:
    """An engine that is open, and its scores.

    Attributes:
        candidate: that it was made of.
        runtime: it.
        fit_seconds: that its fit took.
        megabytes: of its file, 10^6 bytes.
        wins: (n, n), see ``statistics.wins_of``.
        false_rejects: held-out good pictures above its threshold.
        pixel_auroc, aupro: on synthetic defects.
    """

    candidate: Candidate
    runtime: Runtime
    fit_seconds: float
    megabytes: float
    wins: NDArray[np.float64]
    false_rejects: int
    pixel_auroc: float
    aupro: float


@dataclass(frozen=True, eq=False)
class Judged:
    """All figures of a candidate.

    Attributes:
        scored: the engine and its scores.
        auroc: of pictures on synthetic defects, with the bootstrap's interval.
        draws: (draws,) the same in every draw.
        latency: ms from a frame in memory to its result.
    """

    scored: Scored
    auroc: Interval
    draws: NDArray[np.float64] = field(repr=False)
    latency: Latency

    @property
    def name(self) -> str:
        """Of the candidate."""
        return self.scored.candidate.name


def score_candidate(
    candidate: Candidate,
    engine: Path,
    runtime: Runtime,
    held: Sequence[Path],
    settings: AdviseSettings,
    *,
    fit_seconds: float,
    progress: ProgressCall,
) -> Scored:
    """Score every held-out picture as it is and with its synthetic defects.

    Args:
        candidate: of the engine.
        engine: its file.
        runtime: the same, open.
        held: pictures that it was not fitted on.
        settings: of the defects.
        fit_seconds: that the fit took.
        progress: told how far it is.

    Raises:
        DataError: if a picture takes no defect.
    """
    scores: list[float] = []

    def score(frame: Frame) -> tuple[float, NDArray[np.floating]]:
        result = runtime.infer(frame)
        scores.append(result.score)
        return result.score, result.anomaly_map

    found = validate(
        score,
        held,
        preprocessing=runtime.engine.manifest.preprocessing,
        seed=settings.seed,
        per_picture=settings.defects,
        progress=progress,
    )
    table = np.array(scores).reshape(len(held), 1 + settings.defects)
    return Scored(
        candidate=candidate,
        runtime=runtime,
        fit_seconds=fit_seconds,
        megabytes=engine.stat().st_size / 1e6,
        wins=wins_of(table[:, 0], table[:, 1:]),
        false_rejects=int((table[:, 0] > runtime.threshold.value).sum()),
        pixel_auroc=found.pixel_auroc,
        aupro=found.aupro,
    )


def judge(
    scored: Sequence[Scored], held: Sequence[Path], settings: AdviseSettings
) -> tuple[Judged, ...]:
    """Latency of all engines in turn, and intervals from the same draws of pictures."""
    frames = [read_image(path) for path in held[:MAX_FRAMES]]

    def infer_next(runtime: Runtime, n: int) -> None:
        runtime.infer(frames[n % len(frames)])

    calls = [partial(infer_next, one.runtime) for one in scored]
    times = in_turn(calls, rounds=settings.rounds)
    draws = draws_of(len(held), seed=settings.seed)
    judged = []
    for one, milliseconds in zip(scored, times, strict=True):
        values = resampled(one.wins, draws)
        auroc = interval(float(one.wins.mean()), values)
        judged.append(Judged(one, auroc, values, summarize(milliseconds)))
    return tuple(judged)


def difference(better: Judged, other: Judged) -> Interval:
    """How far one candidate's AUROC is ahead of another's, from the same draws."""
    return interval(better.auroc.value - other.auroc.value, better.draws - other.draws)
