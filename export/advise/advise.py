"""Fit candidates briefly, judge them on pictures that none of them saw, recommend one."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from pyad_edge.backends.registry import open_backend
from pyad_edge.bench.machine import about_machine, load
from pyad_edge.errors import PyadError
from pyad_edge.export.advise.candidates import Candidate, has_package, memory_banks
from pyad_edge.export.advise.judge import Scored, judge, score_candidate
from pyad_edge.export.advise.recommend import recommend
from pyad_edge.export.advise.report import AdviseReport, Skipped
from pyad_edge.export.advise.settings import AdviseSettings
from pyad_edge.export.advise.trained import check_trained, plan_trained
from pyad_edge.export.backbones import resolve_backbone
from pyad_edge.export.data import check_images, load_dataset
from pyad_edge.export.duplicates import contents_of, distinct
from pyad_edge.export.progress import ProgressCall, silent
from pyad_edge.export.train_options import HOLDOUT
from pyad_edge.export.validation import split_validation
from pyad_edge.runtime import Runtime

__all__ = ["advise"]

OpenEngine = Callable[[Path], Runtime]


def advise(
    data: str | os.PathLike[str],
    settings: AdviseSettings,
    *,
    backend: str = "onnxruntime",
    precision: str | None = None,
    device: str | None = None,
    threads: int | None = None,
    progress: ProgressCall = silent,
) -> AdviseReport:
    """Which method and settings suit these pictures, this machine and this latency.

    Test pictures of a data set are never looked at. Whole runs of neighbouring good pictures are
    held out, so that near-duplicates stay on one side.

    Args:
        data: MVTec layout, or a folder of good pictures.
        settings: what is tried, and the latency.
        backend, precision, device, threads: of the runtime that judges; threads of the fits too.
        progress: called with (stage, done, of, note).

    Raises:
        DataError: if there are fewer than 8 different pictures, or one cannot be used.
        SettingError: if the backend cannot be what was asked.
        BackendError: if a backbone, backend or package is missing.
        PyadError: the first candidate's, if none could be judged.
    """
    start = time.perf_counter()
    check_trained(settings)
    _check_backend(settings, backend=backend, precision=precision, device=device, threads=threads)
    dataset = load_dataset(data)
    check_images(dataset.train)
    pictures = distinct(dataset.train, contents_of(dataset.train))
    share = min(settings.held_out, settings.most_held_out / len(pictures))
    fit, held = split_validation(pictures, fraction=share, seed=settings.seed)
    notes = list(dataset.notes)
    if len(pictures) < len(dataset.train):
        notes.append(f"{len(dataset.train) - len(pictures)} byte copies were left out.")

    def open_engine(engine: Path) -> Runtime:
        return Runtime(engine, backend=backend, precision=precision, device=device, threads=threads)

    with TemporaryDirectory(prefix="pyad-edge-") as folder:
        trials = _Trials(Path(folder), fit, held, settings, open_engine, threads, progress, start)
        trials.try_all()
        before = load()
        judged = judge(trials.scored, held, settings)
        machine, after = about_machine(), load()
        if after is not None and after > machine["cores"] + 1:  # which is what timing itself takes
            notes.append(
                f"the machine was busy (load {after:g} on {machine['cores']} cores), so the times "
                "are upper bounds."
            )
        used = trials.scored[0].runtime.info["backend"]
    return AdviseReport(
        data=dataset.root,
        settings=settings,
        fitted=len(fit),
        held=len(held),
        judged=judged,
        skipped=tuple(trials.skipped),
        advice=recommend(judged, settings, data=dataset.root, held=len(held)),
        backend=used,
        machine=machine,
        load={"before": before, "after": after},
        seconds=time.perf_counter() - start,
        notes=tuple(notes),
    )


@dataclass(eq=False)
class _Trials:
    """Fits and scores one candidate after the other, while there is time."""

    folder: Path
    fit: Sequence[Path]
    held: Sequence[Path]
    settings: AdviseSettings
    open_engine: OpenEngine
    threads: int | None
    progress: ProgressCall
    start: float
    scored: list[Scored] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)

    def try_all(self) -> None:
        """Memory banks first, then what trains a network, each with its share of the time left.

        Raises:
            PyadError: the first candidate's, if none could be judged.
        """
        faults: list[PyadError] = []
        good = self._link_pictures()
        banks = memory_banks(self.settings, threads=self.threads)
        names = [*(bank.name for bank in banks), *self.settings.include]
        for index, name in enumerate(names):
            left = self.settings.time - (time.perf_counter() - self.start)
            if self.scored and left <= 0:
                self._skip(name, f"the time of {self.settings.time:g} s was spent (--time)")
                continue
            try:
                if index < len(banks):
                    candidate = banks[index]
                else:
                    candidate = plan_trained(
                        self.settings.include[index - len(banks)],
                        self.settings,
                        good,
                        pictures=len(self.fit) - max(2, round(HOLDOUT * len(self.fit))),
                        seconds=left / (len(names) - index),
                        threads=self.threads,
                    )
                self._try(candidate, good, index, len(names))
            except PyadError as fault:
                faults.append(fault)
                self._skip(name, str(fault))
        if not self.scored:
            raise faults[0]
        if not has_package("torch"):
            self._skip("ReConPatch", "it needs torch: pip install 'pyad_edge[train]'")

    def _try(self, candidate: Candidate, good: Path, index: int, of: int) -> None:
        engine = self.folder / f"{index}.pyad"

        def report(stage: str, done: int, of: int, note: str = "") -> None:
            self.progress(f"{index + 1} {stage}", done, of, note)

        self.progress("candidates", index, of, candidate.name)
        begun = time.perf_counter()
        candidate.fit(good, engine, report)
        seconds = time.perf_counter() - begun
        self.scored.append(
            score_candidate(
                candidate,
                engine,
                self.open_engine(engine),
                self.held,
                self.settings,
                fit_seconds=seconds,
                progress=report,
            )
        )
        self.progress("candidates", index + 1, of, "")

    def _link_pictures(self) -> Path:
        """A folder that holds the pictures to fit on and no other."""
        good = self.folder / "good"
        good.mkdir()
        for path in self.fit:
            (good / path.name).symlink_to(path.resolve())
        return good

    def _skip(self, name: str, reason: str) -> None:
        self.skipped.append(Skipped(name, reason))


def _check_backend(
    settings: AdviseSettings,
    *,
    backend: str,
    precision: str | None,
    device: str | None,
    threads: int | None,
) -> None:
    """Refuse a backbone or backend that does not work before anything is fitted."""
    side = settings.sizes[0]
    for name in settings.backbones:
        network = resolve_backbone(name)
        open_backend(
            backend,
            network.model,
            outputs=network.layers,
            input_size=(side, side),
            precision=None if precision == "int8" else precision,  # which an engine calibrates
            device=device,
            threads=threads,
        )
