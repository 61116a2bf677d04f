"""From pictures to an engine file: the stages of ``pyad-edge train grad``."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from pyad_edge.calibration import Threshold, threshold_for
from pyad_edge.engine_manifest import Preprocessing
from pyad_edge.errors import SettingError
from pyad_edge.export.frame_settings import FrameSettings
from pyad_edge.export.memory import memory_limit
from pyad_edge.export.methods.grad.budget import (
    Budget,
    fitted,
    measure,
    plan_of,
    read_plan,
    write_plan,
)
from pyad_edge.export.methods.grad.detector import LEVELS, STRIDE
from pyad_edge.export.methods.grad.engine import check_agreement, export_engine, export_model
from pyad_edge.export.methods.grad.fit import NO_OTHERS, LevelFit, fit
from pyad_edge.export.methods.grad.graph import macs
from pyad_edge.export.methods.grad.settings import GradSettings
from pyad_edge.export.methods.grad.work import WorkFolder
from pyad_edge.export.methods.patchcore.engine import golden_frames
from pyad_edge.export.methods.patchcore.fit import calibrate
from pyad_edge.export.progress import ProgressCall, silent
from pyad_edge.export.training.device import choose_device
from pyad_edge.export.training.loop import require_memory
from pyad_edge.export.training.pictures import PictureSource
from pyad_edge.export.training.stages import TrainingData, check_spread, check_target, open_data
from pyad_edge.feeder import DeclaredInput, Feeder
from pyad_edge.frame_files import read_frame
from pyad_edge.input_choice import pixel_format_of

__all__ = ["GradReport", "train_grad", "work_folder"]

COMPARED = 8  # calibration pictures that torch scores too
HALF = 0.5  # mean and deviation that bring [0, 1] to [-1, 1], as diffusion wants it


@dataclass(frozen=True)
class GradReport:
    """What a training did.

    Attributes:
        path: the engine file; work: folder with windows, checkpoints, logs and pictures.
        pictures, calibration_pictures: trained on, and held out of the training.
        settings: with the numbers of steps.
        losses: of each level's detector, mean of the last tenth of the steps.
        reused: by level, receptive fields whose windows were there already.
        threshold: in the engine, with what backs it.
        gigamacs: multiply-accumulates of the exported network for one picture, in 10^9.
        difference: largest relative difference of a score, torch's model against the engine.
        seconds: in all.
        notes: sentences about the data that a user should read.
    """

    path: Path
    work: Path
    pictures: int
    calibration_pictures: int
    settings: GradSettings
    losses: dict[int, float]
    reused: dict[int, tuple[int, ...]]
    threshold: Threshold
    gigamacs: float
    difference: float
    seconds: float
    notes: tuple[str, ...]


def work_folder(out: Path) -> Path:
    """Beside the engine, of the same name."""
    return out.with_suffix(".grad")


def train_grad(
    data: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    *,
    settings: GradSettings,
    budget: Budget | None = None,
    fixed: Collection[str] = (),
    device: str = "cpu",
    work: WorkFolder | None = None,
    by_level: Mapping[int, GradSettings] = NO_OTHERS,
    calibration_data: str | os.PathLike[str] | None = None,
    frames: FrameSettings | None = None,
    threads: int | None = None,
    announce: Callable[[str], None] | None = None,
    progress: ProgressCall = silent,
) -> GradReport:
    """Generate windows, train detectors, calibrate and export.

    Args:
        data: MVTec layout, or a folder of good pictures; several: one engine for all products.
        out: the engine file to write; an old one stays until the new one is complete.
        settings: see there.
        budget: time that numbers of steps are chosen for; None: as ``settings`` say.
        fixed: counts of ``settings`` that a budget leaves alone.
        device: ``cpu``, ``cuda`` or ``cuda:N``.
        work: folder for what is made on the way; none: beside ``out``.
        by_level: settings of levels that are trained otherwise, such as shorter; data, widths and
            fusion are those of ``settings``.
        calibration_data: folder of further good pictures; none: ``settings.holdout`` decides.
        frames: what frames will come; none: 8-bit RGB or mono pictures, resized.
        threads: of training and network on the CPU.
        announce: told, before the training starts, what it will do and how long it will take; None:
            nothing is measured, unless there is a budget.
        progress: called with (stage, done, of, note).

    Raises:
        DataError: if a picture cannot be used, or calibration scores have no spread.
        SettingError: if settings, device or frames do not fit.
        BackendError: if packages or the device are missing, or the export fails.
        ResourceError: if the memory will not do; nothing was started then.
    """
    start = time.perf_counter()
    out = Path(out)
    work = work or WorkFolder(work_folder(out))
    check_target(out)
    where = choose_device(device)
    if threads is not None:
        torch.set_num_threads(threads)
    if frames is not None:
        frames.check_fit(resize=settings.resize, crop=settings.crop, index=None)
    pictures = open_data(
        data,
        holdout=settings.holdout,
        seed=settings.seed,
        resize=settings.resize,
        crop=settings.crop,
        calibration_data=calibration_data,
        frames=frames,
    )
    preprocessing = Preprocessing(
        resize=settings.resize,
        crop=settings.crop,
        mean=(HALF,) * 3,
        std=(HALF,) * 3,
        color_order=frames.color_order if frames is not None else "rgb",
    )
    declared, feeder = _declare(frames, pictures, settings, preprocessing)
    room = memory_limit(settings.memory_limit)
    source = PictureSource(pictures.fit, preprocessing, feeder=feeder, limit=room)
    held = PictureSource(pictures.held, preprocessing, feeder=feeder, limit=1)
    _check_memory(len(source), settings, room)
    work.make()
    settings = _planned(
        settings, budget, fixed, len(source), work=work, device=where, announce=announce
    )
    model, fits = fit(
        source,
        held,
        settings,
        identity={"method": "grad", "fingerprint": pictures.fingerprint},
        work=work,
        device=where,
        by_level=by_level,
        progress=progress,
    )
    exported = export_model(model, settings, preprocessing=preprocessing, declared=declared)
    pipeline = exported.pipeline(threads=threads)
    golden = golden_frames(pictures.held, declared=declared)
    few = [read_frame(path, pixel_format_of(declared)) for path in pictures.held[:COMPARED]]
    difference = check_agreement(model, pipeline, few)
    calibration = calibrate(pipeline, pictures.held, progress=progress)
    check_spread(calibration.scores, scale=1.0)
    export_engine(
        out,
        exported,
        pipeline,
        calibration,
        pictures=len(pictures.fit),
        golden=golden,
        fingerprint=pictures.fingerprint,
        facts=_facts(settings, fits),
    )
    return GradReport(
        path=out,
        work=work.path,
        pictures=len(pictures.fit),
        calibration_pictures=len(pictures.held),
        settings=settings,
        losses={own.level: _last(own) for own in fits},
        reused={own.level: own.reused for own in fits},
        threshold=threshold_for(calibration.scores, settings.false_reject),
        gigamacs=macs(exported.graph) / 1e9,
        difference=difference,
        seconds=time.perf_counter() - start,
        notes=pictures.notes,
    )


def _planned(
    settings: GradSettings,
    budget: Budget | None,
    fixed: Collection[str],
    pictures: int,
    *,
    work: WorkFolder,
    device: torch.device,
    announce: Callable[[str], None] | None,
) -> GradSettings:
    """Settings with numbers of steps; says what they are and how long they will take."""
    kept = read_plan(work.path, settings) if work.resume and budget is not None else None
    if announce is None and (budget is None or kept is not None):
        return kept or settings
    timing = measure(settings, device)
    if kept is not None:
        settings = kept
    elif budget is not None:
        settings = fitted(settings, budget, pictures, timing, fixed=fixed)
    if announce is not None:
        announce(plan_of(settings, pictures, timing).statement(pictures))
    write_plan(work.path, settings)
    return settings


def _check_memory(pictures: int, settings: GradSettings, limit: int) -> None:
    """Refuse pictures that will not fit beside each other, before any work."""
    H, W = settings.input_size
    factor = min(LEVELS[level] for level in settings.levels)
    require_memory(
        {f"{pictures:,} pictures of one level": 2 * 3 * pictures * H * W // factor**2},
        limit=limit,
        options="--size, or fewer pictures",
    )


def _declare(
    frames: FrameSettings | None,
    pictures: TrainingData,
    settings: GradSettings,
    preprocessing: Preprocessing,
) -> tuple[DeclaredInput | None, Feeder | None]:
    if frames is None:
        return None, None
    H, W = settings.input_size
    if frames.size_policy == "tile" and (frames.tile or (H, W)) != (H, W):
        raise SettingError(
            f"[grad] tiles of {frames.tile} pixels would be resized to {(H, W)}; give --tile and "
            "--size the same."
        )
    grid = (H // STRIDE, W // STRIDE)
    declared = frames.declare(sizes=set(pictures.sizes), input_size=(H, W), levels=[grid])
    return declared, Feeder(preprocessing, declared, grid=grid, sigma=settings.sigma)


def _last(own: LevelFit) -> float:
    losses = own.report.losses[-max(1, len(own.report.losses) // 10) :]
    return sum(losses) / len(losses)


def _facts(settings: GradSettings, fits: Sequence[LevelFit]) -> dict[str, str | int | float | bool]:
    kept = (
        "preset",
        "fusion",
        "width",
        "neighbours",
        "diffusion_steps",
        "samples",
        "sampler",
        "sampling_steps",
        "inside",
    )
    more = (
        "patches",
        "alike",
        "rate",
        "beta",
        "queue",
        "alpha_features",
        "alpha_gradient",
        "precision",
    )
    switches = ("reweight_noisy", "reweight_tail", "regularise", "holdout")
    facts = {name: getattr(settings, name) for name in (*kept, *more, *switches)}
    steps = {f"steps_{own.level}": own.report.steps for own in fits}
    other: dict[str, int] = {
        f"{name}_{own.level}": getattr(own.settings, name)
        for own in fits
        for name in ("diffusion_steps", "samples")
        if getattr(own.settings, name) != getattr(settings, name)
    }
    return facts | steps | other | {f"last_loss_{own.level}": _last(own) for own in fits}
