"""An export beside the engine it was made from: scores, maps and verdicts of the same frames."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyad_edge.backends.registry import golden_tolerance
from pyad_edge.engine import Engine
from pyad_edge.errors import SettingError
from pyad_edge.export.progress import ProgressCall, silent
from pyad_edge.export.targets.forms import Form, Found, sizes_of
from pyad_edge.export.targets.frames import Frame
from pyad_edge.export.targets.networks import Precision
from pyad_edge.golden import least_scale

__all__ = ["Agreement", "Flip", "Limits", "compare", "limits_for"]


@dataclass(frozen=True)
class Limits:
    """How far an export may be from its engine.

    Attributes:
        tolerance: largest relative difference of a score, and of a map's value relative to the
            largest of that map.
        flips: whether other verdicts are borne.
    """

    tolerance: float
    flips: bool


def limits_for(precision: Precision, engine: Engine, tolerance: float | None = None) -> Limits:
    """What is borne in a precision.

    fp32 must meet the engine's own golden tolerance and give every verdict; other precisions what
    golden pictures may drift there. Their verdicts may differ near the threshold: a network in
    other numbers is another network there.

    Args:
        precision: of the network.
        engine: see there.
        tolerance: instead of that.

    Raises:
        SettingError: if the tolerance is no share above 0 and below 1.
    """
    if tolerance is None:
        tolerance = golden_tolerance(precision, engine.manifest.golden.tolerance)
    elif not 0.0 < tolerance < 1.0:
        raise SettingError(
            f"[export] expected --tolerance as a relative difference above 0 and below 1, got "
            f"{tolerance}. Without it {precision} is held to {golden_tolerance(precision, 1e-3):g}."
        )
    return Limits(tolerance, flips=precision != "fp32")


@dataclass(frozen=True)
class Flip:
    """A frame with another verdict.

    Attributes:
        name: of the frame.
        engine, export: the verdicts.
        engine_score, export_score: the scores.
    """

    name: str
    engine: str
    export: str
    engine_score: float
    export_score: float


@dataclass(frozen=True)
class Agreement:
    """Differences over some frames.

    Attributes:
        frames: compared; resized: those that were made the export's size first, for both forms.
        score_max, score_mean: absolute differences of scores.
        score_relative: largest relative difference of a score; a small score is measured as golden
            ones are, see :func:`pyad_edge.golden.check_golden`; worst: the frame it is of.
        map_max, map_mean: absolute differences of the maps' values.
        map_relative: largest difference of a map's value relative to the map's largest.
        flips: frames with another verdict.
        unsound: frames of which one form gave a number that is not finite.
        scores: of every frame, by its name: (engine, export).
    """

    frames: int
    resized: int
    score_max: float
    score_mean: float
    score_relative: float
    worst: str
    map_max: float
    map_mean: float
    map_relative: float
    flips: tuple[Flip, ...]
    unsound: tuple[str, ...]
    scores: dict[str, tuple[float, float]]

    def faults(self, limits: Limits) -> list[str]:
        """What is not within the limits, as parts of a sentence; empty where all is."""
        found = []
        for what, value in (("score", self.score_relative), ("map", self.map_relative)):
            if not value <= limits.tolerance:
                at = f" ({self.worst})" if what == "score" else ""
                found.append(f"a {what} differs by {value:.2e}{at}, tolerance {limits.tolerance:g}")
        if self.unsound:
            found.append(f"{len(self.unsound)} frames have no score, such as {self.unsound[0]}")
        if self.flips and not limits.flips:
            names = ", ".join(flip.name for flip in self.flips[:3])
            found.append(f"{len(self.flips)} verdicts differ ({names})")
        return found

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {**asdict(self), "scores": {n: list(pair) for n, pair in self.scores.items()}}


def compare(
    engine: Engine,
    ours: Form,
    export: Form,
    frames: Iterable[Frame],
    *,
    count: int,
    batch: int | None,
    stage: str = "verify",
    progress: ProgressCall = silent,
) -> Agreement:
    """Run the same frames through both forms.

    Args:
        engine: both come from.
        ours: the engine itself.
        export: what was made of it.
        frames: at least one, all of the export's size.
        count: how many.
        batch: that the export takes; None: any, and runs of 1, 2 and 3 frames are tried in turn.
            What is missing in the last run of a fixed batch is filled with its last frame.
        stage: name of the progress.
        progress: told how far it is.

    Raises:
        BackendError: if a form fails.
    """
    sums = _Sums(least_scale(engine))
    rest, sizes = iter(frames), sizes_of(batch)
    progress(stage, 0, count)
    for size in sizes:
        group = list(islice(rest, size))
        if not group:
            break
        values = np.stack([frame.values for frame in group])
        missing = 0 if batch is None else size - len(group)
        filled = np.concatenate([values, *[values[-1:]] * missing])
        sums.add(group, ours.inspect(values), export.inspect(filled))
        progress(stage, len(sums.scores), count)
    return sums.agreement()


class _Sums:
    """Differences so far."""

    def __init__(self, floor: float) -> None:
        self._floor = floor
        self.scores: dict[str, tuple[float, float]] = {}
        self._maps: list[tuple[float, float, float]] = []  # max, mean, largest of ours
        self._flips: list[Flip] = []
        self._unsound: list[str] = []
        self._resized = 0

    def add(self, frames: list[Frame], ours: Found, export: Found) -> None:
        for n, frame in enumerate(frames):
            pair = float(ours.scores[n]), float(export.scores[n])
            self.scores[frame.name] = pair
            self._resized += frame.resized
            difference = np.abs(export.maps[n].astype(np.float64) - ours.maps[n])
            if not (np.isfinite(pair).all() and np.isfinite(difference).all()):
                self._unsound.append(frame.name)
            largest = float(np.abs(ours.maps[n]).max())
            self._maps.append((float(difference.max()), float(difference.mean()), largest))
            verdicts = ours.verdicts[n].value, export.verdicts[n].value
            if verdicts[0] != verdicts[1]:
                self._flips.append(Flip(frame.name, *verdicts, *pair))

    def agreement(self) -> Agreement:
        pairs: NDArray[np.float64] = np.array(list(self.scores.values()))
        difference = np.abs(pairs[:, 1] - pairs[:, 0])
        relative = difference / np.maximum(np.abs(pairs[:, 0]), self._floor)
        largest, mean, scale = np.array(self._maps).T
        # A map of next to nothing is measured against a tenth of the largest one.
        scale = np.maximum(scale, max(0.1 * float(scale.max()), float(np.finfo("f4").tiny)))
        worst = int(np.argmax(relative))  # NaN counts as the largest
        return Agreement(
            frames=len(pairs),
            resized=self._resized,
            score_max=float(difference.max()),
            score_mean=float(difference.mean()),
            score_relative=float(relative[worst]),
            worst=list(self.scores)[worst],
            map_max=float(largest.max()),
            map_mean=float(mean.mean()),
            map_relative=float((largest / scale).max()),
            flips=tuple(self._flips),
            unsound=tuple(self._unsound),
            scores=self.scores,
        )
