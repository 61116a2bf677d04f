"""Watches scores and inputs of one camera; alarms, and never changes a verdict or threshold."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pyad_edge.drift.alarm import DriftAlarm
from pyad_edge.drift.charts import Crossing, KsChart, RejectChart, ScoreCusum
from pyad_edge.drift.light import LIGHTS, MEASURES, LightChart, light_moves
from pyad_edge.drift.limits import long_run_variance, normal_scores, share_of
from pyad_edge.drift.state import (
    AlarmState,
    DriftState,
    read_state,
    take_acknowledgement,
    write_state,
)
from pyad_edge.drift.statistics import CELLS, FrameMeasures, displacement, measure_frame
from pyad_edge.errors import PyadError, SettingError
from pyad_edge.pixel_formats import PIXEL_FORMATS
from pyad_edge.result import Result, Verdict

if TYPE_CHECKING:
    from pyad_edge.drift.watched import Watched
    from pyad_edge.streaming.record import Inspection

__all__ = ["LEARN", "SHAPE", "DriftMonitor"]

SHAPE, LEARN = 200, 2000
_SAVE_EVERY = 100  # frames, while learning
_SCORE, _KS, _REJECTS = "score", "score_ks", "rejects"
_log = logging.getLogger("pyad_edge.drift")


class DriftMonitor:
    """Charts of one camera's light, lens, place, scores and rejects.

    The first good frames of the line are the reference of what frames look like; the engine's
    calibration pictures are that of scores. Both are frozen. An alarm stands until it is
    acknowledged. See docs/drift.md for charts, limits and what they find.

    Attributes:
        trouble: why the latest frame could not be learned or compared, a sentence; None: it was.

    Args:
        runtime: an open ``Runtime``; its threshold tells which scores are compared.
        state: file to remember in; None: nothing outlives the monitor.
        learn: good frames in the reference of inputs; more find smaller drifts.
        shape: good frames before those, for the mean picture that positions are measured against.
        reset: whether to forget an earlier state and learn again.

    Raises:
        SettingError: if a number or the state file cannot be used, or belongs to another engine.
        ResourceError: if the state cannot be written.
    """

    def __init__(
        self,
        runtime: Watched,
        *,
        state: str | os.PathLike[str] | None = None,
        learn: int = LEARN,
        shape: int = SHAPE,
        reset: bool = False,
    ) -> None:
        if not (100 <= learn <= 100_000 and 20 <= shape <= 100_000):
            raise SettingError(
                "[drift] expected learn from 100 and shape from 20, both up to 100,000, got "
                f"{learn} and {shape}."
            )
        self._path = None if state is None else Path(state)
        self._engine = runtime.engine.file_sha256
        self._full_scale, self._mosaic = _pixels(runtime)
        scores = runtime.engine.tensors["calibration/scores"]
        self._calibration = np.sort(scores.astype(np.float64).ravel())
        self._false_reject = runtime.threshold.guaranteed_false_reject or 0.0
        found = None if self._path is None or reset else read_state(self._path)
        if found is not None and found.engine_sha256 != self._engine:
            raise SettingError(
                f"[drift] {self._path} was learned with another engine (SHA-256 "
                f"{found.engine_sha256[:16]}...). Name another file, or learn again with "
                "--drift-reset."
            )
        self._shape = shape if found is None else found.shape
        self._learn = learn if found is None else found.learn
        self._sum = np.zeros((CELLS, CELLS))
        self._shape_seen = self._frames = self._rejects = 0
        self._values: dict[str, list[float]] = {}
        self._moves: dict[str, list[float]] = {}
        self.trouble: str | None = None
        self._failures = 0
        self._failure: str | None = None
        self._unsaved = False  # learned frames that no file has
        self._alarms: dict[str, DriftAlarm] = {}
        if found is not None:
            self._sum = np.array(found.thumbnail_sum).reshape(CELLS, CELLS)
            self._shape_seen, self._frames = found.shape_seen, found.frames
            self._rejects = found.rejects
            self._values = {name: list(column) for name, column in found.values.items()}
            self._moves = {name: list(sums) for name, sums in found.moves.items()}
            self._alarms = {one.chart: DriftAlarm(**one.model_dump()) for one in found.alarms}
        self._threshold: float | None = None
        self._cusums: dict[str, ScoreCusum] = {}
        self._ks: KsChart | None = None
        self._reject_chart: RejectChart | None = None
        self._light: dict[str, LightChart] = {}
        self._spread: dict[str, float] = {}
        if self.armed:
            self._arm()
        self._take_acknowledgement()
        self._save()  # a file that cannot be written is refused before the first frame

    @property
    def armed(self) -> bool:
        """Whether the reference is complete, and charts are drawn."""
        return bool(self._values) and len(next(iter(self._values.values()))) >= self._learn

    @property
    def alarms(self) -> tuple[DriftAlarm, ...]:
        """Alarms that stand."""
        return tuple(self._alarms.values())

    @property
    def failures(self) -> int:
        """Frames, or writes of the state, that it could not do its work for."""
        return self._failures

    @property
    def failure(self) -> str | None:
        """The first of them, a sentence; None: there was none."""
        return self._failure

    def statement(self) -> str:
        """What the monitor rests on, in one sentence for people."""
        learned = len(next(iter(self._values.values()), []))
        if not self.armed:
            return (
                f"Drift: learning, {self._shape_seen + learned} of "
                f"{self._shape + self._learn} good frames so far; no alarm before."
            )
        worst = max(self._spread, key=lambda name: self._spread[name])
        return (
            f"Drift: {learned:,} good frames of this line behind the inputs (the most sluggish "
            f"chart, {worst}, counts them as {learned / self._spread[worst]:,.0f}), "
            f"{self._calibration.size:,} calibration pictures behind the scores."
        )

    def limits(self) -> dict[str, float]:
        """The limits in force by chart; none before the monitor is armed."""
        found = {name: chart.limit for name, chart in (self._cusums | self._light).items()}
        if self._ks is not None:
            found[_KS] = self._ks.limit
        if self._reject_chart is not None:
            found[_REJECTS] = self._reject_chart.limit
        return found

    def acknowledge(self) -> None:
        """Clear the alarms that stand; their charts begin anew."""
        for chart in (*self._cusums.values(), *self._light.values(), self._ks, self._reject_chart):
            if chart is not None:
                chart.restart()
        self._alarms.clear()
        self._save()

    def observe(self, inspection: Inspection) -> tuple[DriftAlarm, ...]:
        """Take the next inspection of the camera.

        Frames without a verdict are left out: the input gate names what is wrong with them. Nothing
        is raised and no verdict changes: what the monitor could not do is logged, counted in
        ``failures`` and told in ``trouble``.

        Returns:
            All alarms that stand, those that this frame raised among them.
        """
        self.trouble = None
        try:
            if self._alarms:
                self._take_acknowledgement()
            if inspection.verdict is not Verdict.FAULT and inspection.image is not None:
                self._look(inspection)
        except Exception as error:  # whatever it is, inspection goes on
            self.trouble = self._fail(inspection.camera, error)
        return self.alarms

    def close(self) -> None:
        """Keep what was learned since the last save; the monitor may be used again.

        Nothing is raised; see ``observe``.
        """
        if self._unsaved:
            try:
                self._save()
            except Exception as error:  # the verdicts are given
                self._fail("the state", error)

    def _fail(self, what: str, error: Exception) -> str:
        _log.error("drift monitor of %s failed", what, exc_info=error)
        sentence = (
            str(error)
            if isinstance(error, PyadError)
            else f"[drift] unexpected {type(error).__name__}: {str(error) or 'no reason given'}"
        )
        self._failures += 1
        self._failure = self._failure or sentence
        return sentence

    def _look(self, inspection: Inspection) -> None:
        measured = measure_frame(
            np.asarray(inspection.image), full_scale=self._full_scale, mosaic=self._mosaic
        )
        self._require_kind(measured.values)
        rejected = inspection.verdict is Verdict.NG
        result = inspection.result
        # Of mode decide only frames near the threshold have a score: no sample to compare.
        score = result.score if isinstance(result, Result) else None
        threshold = None if result is None else result.threshold
        if not self.armed:
            self._frames += 1
            self._rejects += rejected
            if not rejected:
                self._learn_from(np.asarray(inspection.image), measured, score)
            return
        values = {**measured.values, **self._position(measured.thumbnail)}
        index, rows = inspection.index, dict[str, Crossing | None]()
        for name, value in values.items():
            if name in self._cusums and name not in self._alarms:
                rows[name] = self._cusums[name].add(value, index, rejected=rejected)
        for name, light in self._light.items():
            if name not in self._alarms:
                rows[name] = light.add(values, index, rejected=rejected)
        if _REJECTS not in self._alarms and self._reject_chart is not None:
            rows[_REJECTS] = self._reject_chart.add(rejected, index)
        if score is not None and threshold is not None and not rejected:
            rows |= self._look_at_score(score, threshold, index)
        raised = {
            name: DriftAlarm(name, *row, at=index, camera=inspection.camera)
            for name, row in rows.items()
            if row is not None
        }
        if raised:
            self._alarms |= raised
            for alarm in raised.values():
                _log.warning("%s", alarm.sentence())
            self._save()

    def _look_at_score(
        self, score: float, threshold: float, index: int
    ) -> dict[str, Crossing | None]:
        """Scores of parts that pass, beside the calibration scores that pass."""
        if threshold != self._threshold:
            self._threshold = threshold
            self._arm_scores()
        rows: dict[str, Crossing | None] = {}
        if _SCORE in self._cusums and _SCORE not in self._alarms:
            rows[_SCORE] = self._cusums[_SCORE].add(score, index)
        if self._ks is not None and _KS not in self._alarms:
            rows[_KS] = self._ks.add(score, index)
        return rows

    def _position(self, thumbnail: NDArray[np.float32]) -> dict[str, float]:
        template = (self._sum / self._shape_seen).astype(np.float32)
        x, y = displacement(thumbnail, template)
        return {"position_x": float(x), "position_y": float(y)}

    def _require_kind(self, values: Mapping[str, float]) -> None:
        """Frames have the measures of those before: a mono frame has no balance of colours."""
        known = set(self._values) - {_SCORE, "position_x", "position_y"}
        if known and known != set(values):
            had, has = ("colour" if "balance_0" in kind else "mono" for kind in (known, values))
            raise SettingError(
                f"[drift] the monitor learned {had} frames, and this one is {has}: it was neither "
                "learned nor compared. Set the camera back, or learn again with --drift-reset."
            )

    def _learn_from(self, image: NDArray[Any], found: FrameMeasures, score: float | None) -> None:
        self._unsaved = True
        if self._shape_seen < self._shape:
            self._sum += found.thumbnail
            self._shape_seen += 1
            count = self._shape_seen
        else:
            moves = light_moves(
                image, found.values, full_scale=self._full_scale, mosaic=self._mosaic
            )
            row = {**found.values, **self._position(found.thumbnail)}
            # What is used of scores is their order in time alone: how sluggish they are. Mode
            # decide has none of most frames, and so its streams have no chart of them.
            if score is None:
                self._values.pop(_SCORE, None)
            elif not self._values or _SCORE in self._values:
                row[_SCORE] = score
            for name, value in row.items():
                self._values.setdefault(name, []).append(float(np.float32(value)))
            for name, move in moves.items():
                sums = self._moves.setdefault(name, [0.0] * len(MEASURES))
                self._moves[name] = [s + m for s, m in zip(sums, move, strict=True)]
            count = len(self._values["brightness"])
        if self.armed:
            self._arm()
            _log.info("%s", self.statement())
        if self.armed or count % _SAVE_EVERY == 0:
            self._save()

    def _arm(self) -> None:
        """Make the charts from what was learned."""
        self._charts = names = (
            *self._values, *LIGHTS, *([_KS] if _SCORE in self._values else []), _REJECTS
        )  # fmt: skip
        for name, column in self._values.items():
            values = np.array(column)
            scores = normal_scores(values, np.sort(values))
            self._spread[name] = spread = long_run_variance(scores)
            if name != _SCORE:
                self._cusums[name] = ScoreCusum(
                    values,
                    pictures=values.size / spread,
                    spread=spread,
                    false_alarms=share_of(name, names),
                )
        columns = {name: np.array(self._values[name]) for name in MEASURES}
        for name, sums in self._moves.items():
            self._light[name] = LightChart(
                name, columns, np.array(sums), false_alarms=share_of(name, names)
            )
            self._spread[name] = self._light[name].spread
        self._reject_chart = RejectChart(
            self._rejects,
            self._frames,
            at_least=self._false_reject,
            false_alarms=share_of(_REJECTS, names),
        )

    def _arm_scores(self) -> None:
        """Charts of scores, against the calibration scores up to the threshold in force."""
        self._cusums.pop(_SCORE, None)
        self._ks = None
        kept = self._calibration[self._calibration <= (self._threshold or 0.0)]
        if _SCORE not in self._values or kept.size < 2:
            return
        spread = self._spread[_SCORE]
        self._cusums[_SCORE] = ScoreCusum(
            kept,
            pictures=float(kept.size),
            spread=spread,
            false_alarms=share_of(_SCORE, self._charts),
        )
        self._ks = KsChart(kept, spread=spread, false_alarms=share_of(_KS, self._charts))

    def _take_acknowledgement(self) -> None:
        if self._path is not None and take_acknowledgement(self._path):
            self.acknowledge()

    def _save(self) -> None:
        if self._path is None:
            return
        state = DriftState(
            format="pyad_edge drift state",
            format_version=2,
            engine_sha256=self._engine,
            shape=self._shape,
            learn=self._learn,
            shape_seen=self._shape_seen,
            thumbnail_sum=[float(v) for v in self._sum.ravel()],
            frames=self._frames,
            rejects=self._rejects,
            values=self._values,
            moves=self._moves,
            alarms=[AlarmState(**one.to_dict()) for one in self._alarms.values()],
        )
        write_state(self._path, state)
        self._unsaved = False


def _pixels(runtime: Watched) -> tuple[float, bool]:
    """Full scale of the frames, and whether they are mosaics."""
    declared = runtime.info["input"]["pixel_format"]
    if declared is None:
        return 255.0, False
    pixels = PIXEL_FORMATS[declared]
    scale = 1.0 if pixels.dtype == "float32" else 2.0**pixels.bits - 1.0
    return scale, pixels.kind == "bayer"
