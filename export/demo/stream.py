"""The main job in one command: generated pictures, fit, export, camera loop. No torch, no GPU."""

from __future__ import annotations

import shutil
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from rich.markup import escape
from rich.table import Table

from pyad_edge.console import err, out
from pyad_edge.errors import BackendError, SettingError
from pyad_edge.export.data import Sample, load_dataset
from pyad_edge.export.demo.part import write_dataset
from pyad_edge.export.methods.patchcore import make_settings
from pyad_edge.export.metrics import image_auroc
from pyad_edge.export.progress import progress_bar
from pyad_edge.export.train import train_patchcore
from pyad_edge.images import read_image
from pyad_edge.loop import inspect_stream, save_picture
from pyad_edge.ops import set_num_threads
from pyad_edge.overlay import draw_overlay
from pyad_edge.runtime import Runtime
from pyad_edge.stream import open_source

__all__ = ["DemoReport", "run_demo"]

TRAIN, GOOD, PER_DEFECT = 160, 60, 10
CORESET = 0.02
FALSE_REJECT = 0.05  # what 32 held-out pictures can guarantee
MARKER = ".pyad-edge-demo"  # the folder is ours to empty


@dataclass(frozen=True)
class DemoReport:
    """What the demo measured, and where it left its files.

    Attributes:
        engine: the engine file.
        overlays: folder with a picture of every frame.
        frames: in the stream.
        image_auroc: over all of them.
        verdicts: how many frames of each kind (``good`` or a defect) got which verdict (``OK``,
            ``NG``).
    """

    engine: Path
    overlays: Path
    frames: int
    image_auroc: float
    verdicts: Mapping[tuple[str, str], int]


def run_demo(folder: Path, *, seed: int, threads: int | None) -> DemoReport:
    """Run the demo and print what it measured.

    Args:
        folder: for pictures, engine and overlays. One left by an earlier demo is replaced.
        seed: of the pictures.
        threads: of network and kernels; none: all.

    Raises:
        SettingError: if the folder holds something else.
        BackendError: if a frame has no verdict.
    """
    if threads is not None:
        set_num_threads(threads)
    _prepare(folder)
    engine, overlays = folder / "part.pyad", folder / "overlays"

    err.print(f"[bold]1. Pictures[/]  {TRAIN} good parts to learn from; new ones for the camera")
    start = time.perf_counter()
    data = write_dataset(folder / "part", seed=seed, train=TRAIN, good=GOOD, per_defect=PER_DEFECT)
    frames = _as_stream(data, folder / "stream", seed)
    generated = time.perf_counter()

    err.print("[bold]2. Fit[/]  PatchCore, built-in backbone")
    settings = make_settings(seed=seed, coreset=CORESET, false_reject=FALSE_REJECT)
    with progress_bar() as progress:
        report = train_patchcore(
            data, engine, settings=settings, threads=threads, progress=progress
        )
    err.print(escape(report.threshold.statement()), highlight=False)
    fitted = time.perf_counter()

    err.print(f"[bold]3. Camera loop[/]  {len(frames)} frames that no fit saw")
    runtime = Runtime(engine, threads=threads)
    with open_source(folder / "stream") as source:
        records = list(inspect_stream(runtime, source))
    streamed = time.perf_counter()

    measured = _measure(engine, overlays, frames, records)
    out.print(_table(measured))
    _print_latency(records)
    out.print(
        f"pictures {generated - start:.1f} s, fit {fitted - generated:.1f} s, "
        f"stream {streamed - fitted:.1f} s (from files)",
        highlight=False,
    )
    _save_overlays(runtime, frames, overlays)
    out.print(f"engine   {escape(str(engine))}\noverlays {escape(str(overlays))}", highlight=False)
    return measured


def _prepare(folder: Path) -> None:
    """Make the folder; empty it only if an earlier demo made it."""
    if folder.exists() and not (folder / MARKER).is_file():
        raise SettingError(
            f"[demo] {folder} exists and was not made by the demo. Choose another folder with "
            "--out."
        )
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    (folder / MARKER).touch()


def _as_stream(data: Path, stream: Path, seed: int) -> list[Sample]:
    """Lay the test pictures out as a camera would deliver them: mixed, without labels.

    Returns:
        What each frame shows, in the order of the stream.
    """
    samples = load_dataset(data).test
    order = np.random.default_rng(seed).permutation(len(samples))
    stream.mkdir()
    for number, index in enumerate(order):
        shutil.copyfile(samples[index].path, stream / f"{number:04d}.png")
    return [samples[index] for index in order]


def _measure(
    engine: Path, overlays: Path, frames: Sequence[Sample], records: Sequence[dict[str, Any]]
) -> DemoReport:
    """Verdicts by what the frames really show, AUROC over all of them."""
    faults = [record for record in records if record["verdict"] == "FAULT"]
    if faults:
        raise BackendError(f"[demo] {len(faults)} frames have no verdict: {faults[0]['error']}")
    seen = Counter(
        (frame.defect, str(record["verdict"]))
        for frame, record in zip(frames, records, strict=True)
    )
    return DemoReport(
        engine=engine,
        overlays=overlays,
        frames=len(frames),
        image_auroc=image_auroc(
            [frame.is_anomalous for frame in frames], [record["score"] for record in records]
        ),
        verdicts=MappingProxyType(seen),
    )


def _table(report: DemoReport) -> Table:
    title = f"image AUROC {report.image_auroc:.4f} over {report.frames} frames"
    table = Table(title=title, title_justify="left")
    for heading in ("frame shows", "frames", "OK", "NG"):
        table.add_column(heading, justify="left" if heading == "frame shows" else "right")
    kinds = {kind for kind, _ in report.verdicts}
    for kind in sorted(kinds, key=lambda name: (name != "good", name)):
        ok, ng = (report.verdicts.get((kind, verdict), 0) for verdict in ("OK", "NG"))
        table.add_row(kind.replace("_", " "), str(ok + ng), str(ok), str(ng))
    return table


def _print_latency(records: Sequence[dict[str, Any]]) -> None:
    p50, p99 = np.quantile([record["timings_ms"]["total"] for record in records], [0.5, 0.99])
    stages = {
        stage: float(np.median([record["timings_ms"][stage] for record in records]))
        for stage in records[0]["timings_ms"]
        if stage != "total"
    }
    parts = ", ".join(f"{stage} {ms:.1f}" for stage, ms in stages.items())
    out.print(f"latency  p50 {p50:.1f} ms, p99 {p99:.1f} ms ({parts})", highlight=False)


def _save_overlays(runtime: Runtime, frames: Sequence[Sample], folder: Path) -> None:
    for number, frame in enumerate(frames):
        image = read_image(frame.path)
        result = runtime.infer(image)
        truth = read_image(frame.mask)[..., 0] > 127 if frame.mask else None
        picture = draw_overlay(image, result, ground_truth=truth, title=f"frame {number}")
        save_picture(folder / frame.defect / f"{number:04d}.png", picture)
