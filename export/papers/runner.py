"""Train and evaluate every contender on every category; what is finished is never done twice."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyad_edge.errors import DataError
from pyad_edge.export.data import split_holdout
from pyad_edge.export.datasets import Category, read_dataset, write_view
from pyad_edge.export.datasets.loco import LOGICAL, STRUCTURAL
from pyad_edge.export.evaluate import Evaluation, evaluate
from pyad_edge.export.papers.contenders import Contender
from pyad_edge.export.papers.protocols import Input, input_of
from pyad_edge.export.papers.rows import data_digest, read_row, row_name, write_json
from pyad_edge.export.papers.schedule import schedule_of
from pyad_edge.export.papers.training import CHECKPOINT, FOLDER, Circumstances, Work, train
from pyad_edge.export.progress import ProgressCall
from pyad_edge.runtime import Runtime

__all__ = ["METRICS", "Plan", "run"]

METRICS = ("image_auroc", "pixel_auroc", "aupro", "f1_max")
CALIBRATED = 2  # pictures of a low-shot engine's threshold, which no figure here depends on
Say = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """What to measure.

    Attributes:
        root: of the data set; categories: wanted; None: all.
        contenders, seeds: all combinations of them.
        shots: numbers of training pictures; None in it: all of them.
        size: of whole pictures, instead of the papers'.
        around: what is the same for all.
        out: folder of rows, engines and checkpoints.
        keep: whether engines stay.
    """

    root: Path
    categories: tuple[str, ...] | None
    contenders: tuple[Contender, ...]
    seeds: tuple[int, ...]
    shots: tuple[int | None, ...]
    size: tuple[int, int] | None
    around: Circumstances
    out: Path
    keep: bool


def run(plan: Plan, *, progress: ProgressCall, say: Say) -> list[dict[str, Any]]:
    """All rows, those of earlier calls included.

    Args:
        plan: see there.
        progress: called with (stage, done, of, note).
        say: told what was finished, a sentence each.

    Raises:
        DataError, SettingError, BackendError, ResourceError: as readers and trainings do.
    """
    work = plan.out / "work"
    work.mkdir(exist_ok=True)
    rows = []
    for seed in plan.seeds:
        found = read_dataset(plan.around.dataset, plan.root, categories=plan.categories, seed=seed)
        for category in found:
            for shots in plan.shots:
                view = _View(category, work / "view", seed, shots)
                for contender in plan.contenders:
                    rows.append(_row(plan, contender, view, progress=progress, say=say))
                view.remove()
    if not any(work.iterdir()):
        work.rmdir()
    return rows


class _View:
    """A category's folder for training and evaluation, written when the first one needs it."""

    def __init__(self, category: Category, folder: Path, seed: int, shots: int | None) -> None:
        self.category, self.folder, self.seed, self.shots = category, folder, seed, shots
        self._there = False

    def write(self) -> Path | None:
        """Write it unless it is there; returns the folder of pictures to calibrate on."""
        train, calibration = self._divided()
        if not self._there:
            write_view(self.category, self.folder, train=train, calibration=calibration)
            self._there = True
        return self.folder / "calibration" if calibration else None

    def remove(self) -> None:
        """Remove it."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _divided(self) -> tuple[tuple[Path, ...], tuple[Path, ...]]:
        if self.shots is None:
            return self.category.train, ()
        if self.shots + CALIBRATED > len(self.category.train):
            raise DataError(
                f"[bench papers] {self.category.name} has {len(self.category.train)} good pictures "
                f"to train on; --shots {self.shots} needs that many and {CALIBRATED} more for the "
                "threshold."
            )
        drawn = sorted(self.category.train, key=lambda path: _order(self.seed, path))
        return tuple(drawn[: self.shots]), tuple(drawn[self.shots : self.shots + CALIBRATED])


def _order(seed: int, path: Path) -> bytes:
    """A picture's place in the draw: the same on every machine."""
    return hashlib.sha256(f"{seed}:{path.name}".encode("utf-8", "surrogateescape")).digest()


def _row(
    plan: Plan, contender: Contender, view: _View, *, progress: ProgressCall, say: Say
) -> dict[str, Any]:
    given = input_of(contender.method, plan.around.dataset, plan.size)
    identity = _identity(plan, contender, view, given)
    name = row_name(identity)
    file = plan.out / "rows" / f"{name}.json"
    title = f"{contender.label}, {view.category.name}, seed {view.seed}"
    if view.shots is not None:
        title += f", {view.shots} picture{'' if view.shots == 1 else 's'}"
    engine = plan.out / "work" / f"{name}.pyad"
    if (known := read_row(file)) is not None:
        _clean(engine, plan)  # a kill may have come between the row and this
        say(f"{title}: there already, image AUROC {known['image_auroc']:.4f}")
        return known
    say(f"{title}: begins")
    file.parent.mkdir(exist_ok=True)
    calibration = view.write()
    pictures = view.shots or _fitted(view.category, plan.around.holdout, view.seed)
    work = Work(view.folder, calibration, pictures, engine)
    seconds, resumed = None, 0
    if not engine.exists():  # complete where it exists: an earlier call was stopped after it
        report = train(contender, view.seed, given, work, plan.around, progress=progress)
        seconds, resumed = report.seconds, int(getattr(report, "resumed_from", 0))
    runtime = Runtime(engine, threads=plan.around.threads)
    measured = evaluate(runtime, view.folder, progress=progress)
    row = {
        "dataset": plan.around.dataset,
        "category": view.category.name,
        "label": contender.label,
        "seed": view.seed,
        "shots": view.shots,
        **_figures(measured),
        **_about(runtime, contender, plan.around.dataset),
        "train_seconds": seconds,
        "resumed_from": resumed,
        "input": given.statement(),
        "identity": identity,
        "notes": [*view.category.notes, *measured.notes],
    }
    write_json(file, row)
    _clean(engine, plan)
    say(f"{title}: image AUROC {row['image_auroc']:.4f}")
    return row


def _identity(plan: Plan, contender: Contender, view: _View, given: Input) -> dict[str, Any]:
    around = plan.around
    return {
        "dataset": around.dataset,
        "category": view.category.name,
        "data": data_digest(view.category),
        "seed": view.seed,
        "shots": view.shots,
        "contender": contender.identity(),
        "input": given.statement(),
        "layers": around.layers,
        "holdout": around.holdout,
        "precision": around.precision,
    }


def _fitted(category: Category, holdout: float, seed: int) -> int:
    return len(split_holdout(category.train, fraction=holdout, seed=seed)[0])


def _figures(measured: Evaluation) -> dict[str, Any]:
    """Metrics as fractions; those of LOCO's two kinds of anomalies where they are there."""
    figures: dict[str, Any] = {name: getattr(measured, name) for name in METRICS}
    if figures["image_auroc"] is None:
        raise DataError(
            f"[bench papers] {measured.data} has only one class of test pictures, so nothing can "
            "be measured."
        )
    kinds = {row.name: row.image_auroc for row in measured.rows if row.image_auroc is not None}
    structural, logical = kinds.get(STRUCTURAL), kinds.get(LOGICAL)
    if structural is not None and logical is not None:
        figures["structural_auroc"], figures["logical_auroc"] = structural, logical
        figures["mean_auroc"] = (structural + logical) / 2
    return figures | {
        "by_kind": kinds,
        "test_pictures": len(measured.scores),
        "ms_per_picture": measured.ms_median,
    }


def _about(runtime: Runtime, contender: Contender, dataset: str) -> dict[str, Any]:
    manifest = runtime.engine.manifest
    training = manifest.training
    return {
        "schedule": schedule_of(contender, dataset, training.settings, training.pictures),
        "pictures": training.pictures,
        "calibration_pictures": training.calibration_pictures,
        "settings": dict(training.settings),
        "network": manifest.backbone.name,
        "network_megabytes": runtime.engine.tensors["network/onnx"].nbytes / 1e6,
        "engine_megabytes": runtime.engine.path.stat().st_size / 1e6,
    }


def _clean(engine: Path, plan: Plan) -> None:
    """What a finished row needs no more."""
    engine.with_suffix(CHECKPOINT).unlink(missing_ok=True)
    shutil.rmtree(engine.with_suffix(FOLDER), ignore_errors=True)
    if plan.keep and engine.exists():
        engines = plan.out / "engines"
        engines.mkdir(exist_ok=True)
        engine.replace(engines / engine.name)
    engine.unlink(missing_ok=True)
