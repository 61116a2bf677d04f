"""From a folder of pictures to an engine with a memory bank: PatchCore, ReConPatch, ensembles."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from pyad_edge.calibration import Threshold, threshold_for
from pyad_edge.export.backbones import Backbone, resolve_backbone
from pyad_edge.export.frame_settings import FrameSettings
from pyad_edge.export.methods.ensemble import check_members, export_ensemble
from pyad_edge.export.methods.patchcore import (
    PatchCoreModel,
    PatchCoreSettings,
    calibrate,
    export_engine,
    fit,
    golden_frames,
)
from pyad_edge.export.methods.patchcore.index import add_index
from pyad_edge.export.methods.reconpatch.settings import ReConPatchSettings
from pyad_edge.export.progress import ProgressCall, silent
from pyad_edge.export.training.options import CheckpointOptions
from pyad_edge.export.training.stages import TrainingData, check_spread, check_target, open_data

__all__ = ["TrainReport", "train_patchcore"]


@dataclass(frozen=True)
class TrainReport:
    """What a training did.

    Attributes:
        path: the engine file.
        pictures: in the bank; calibration_pictures: held out of it.
        bank_rows: M, of all members of an ensemble.
        threshold: in the engine, with what backs it.
        search: what the approximate index is and misses; none: the search is exact.
        seconds: in all.
        notes: sentences about the data that a user should read.
    """

    path: Path
    pictures: int
    calibration_pictures: int
    bank_rows: int
    threshold: Threshold
    search: str | None
    seconds: float
    notes: tuple[str, ...]


def train_patchcore(
    data: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    settings: PatchCoreSettings,
    reconpatch: ReConPatchSettings | None = None,
    backbone: str | Sequence[str] = "edge18",
    layers: str | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    calibration_data: str | os.PathLike[str] | None = None,
    frames: FrameSettings | None = None,
    device: str = "cpu",
    options: CheckpointOptions | None = None,
    threads: int | None = None,
    progress: ProgressCall = silent,
) -> TrainReport:
    """Fit, calibrate and export.

    Args:
        data: MVTec layout, or a folder of good pictures.
        out: the engine file to write; an old one stays until the new one is complete.
        settings: see PatchCoreSettings.
        reconpatch: learns a linear map of the patches first, see there; none: PatchCore.
        backbone, layers: see ``resolve_backbone``. Several backbones: an ensemble of them.
        mean, std: three numbers each, for an ONNX file that does not state them; it must take RGB.
        calibration_data: folder of further good pictures; none: ``settings.holdout`` decides.
        frames: what frames will come; none: 8-bit RGB or mono pictures, resized.
        device: of ReConPatch's training: ``cpu``, ``cuda`` or ``cuda:1``.
        options: checkpoint and logs of that training; an ensemble's files are numbered.
        threads: of the backbone.
        progress: called with (stage, done, of).

    Raises:
        DataError: if a picture cannot be used, too few are different, calibration pictures are also
            fitted on, or their scores have no spread.
        SettingError, BackendError, ResourceError: see fit, calibrate and write_engine.
    """
    start = time.perf_counter()
    out = Path(out)
    check_target(out)
    if reconpatch is not None:
        from pyad_edge.export.training.device import choose_device  # needs torch

        choose_device(device)
    names = [backbone] if isinstance(backbone, str) else list(backbone)
    backbones = [resolve_backbone(name, layers=layers, mean=mean, std=std) for name in names]
    if len(names) != 1:
        check_members(names, index=settings.index, frames=frames)
    if frames is not None:
        frames.check_fit(resize=settings.resize, crop=settings.crop, index=settings.index)
    pictures = open_data(
        data,
        holdout=settings.holdout,
        seed=settings.seed,
        resize=settings.resize,
        crop=settings.crop,
        calibration_data=calibration_data,
        frames=frames,
    )
    models = [
        _fit(
            pictures,
            resolved,
            settings,
            reconpatch,
            frames=frames,
            device=device,
            options=options.of_member(number) if options and len(backbones) > 1 else options,
            threads=threads,
            progress=_numbered(progress, number if len(backbones) > 1 else 0),
        )
        for number, resolved in enumerate(backbones, 1)
    ]
    notes = list(pictures.notes)
    if any(not model.plan.keep_features and model.plan.features for model in models):
        notes.append("the features did not fit the memory limit, so the backbone ran twice.")
    if len(models) > 1:
        scores = export_ensemble(
            out, models, pictures.held, pictures.fingerprint, threads=threads, progress=progress
        )
    else:
        model = models[0]
        pipeline = model.pipeline(threads=threads)
        calibration = calibrate(pipeline, pictures.held, progress=progress)
        scores = calibration.scores
        check_spread(scores, scale=_scale(model))
        export_engine(
            out,
            model,
            pipeline,
            calibration,
            golden=golden_frames(pictures.held, declared=model.declared),
            fingerprint=pictures.fingerprint,
        )
    index = models[0].index
    return TrainReport(
        path=out,
        pictures=len(pictures.fit),
        calibration_pictures=len(pictures.held),
        bank_rows=sum(len(model.bank) for model in models),
        threshold=threshold_for(scores, settings.false_reject),
        search=index.record.statement() if index is not None else None,
        seconds=time.perf_counter() - start,
        notes=tuple(notes),
    )


def _fit(
    pictures: TrainingData,
    backbone: Backbone,
    settings: PatchCoreSettings,
    reconpatch: ReConPatchSettings | None,
    *,
    frames: FrameSettings | None,
    device: str,
    options: CheckpointOptions | None,
    threads: int | None,
    progress: ProgressCall,
) -> PatchCoreModel:
    """One memory bank, with its map and index where these are asked for."""
    learned = None
    if reconpatch is not None:
        from pyad_edge.export.methods.reconpatch.fit import learn_map  # needs torch

        learned = learn_map(
            pictures.fit,
            backbone,
            settings,
            reconpatch,
            frames=frames,
            sizes=pictures.sizes,
            threads=threads,
            device=device,
            options=options,
            progress=progress,
        )
        backbone, settings = learned.backbone, learned.settings
    model = fit(
        pictures.fit,
        backbone,
        settings,
        names=pictures.names,
        frames=frames,
        sizes=pictures.sizes,
        threads=threads,
        progress=progress,
    )
    if learned is not None:
        model = replace(model, method="reconpatch", trained=learned.trained)
    return add_index(model, pictures.held, threads=threads, progress=progress)


def _numbered(progress: ProgressCall, member: int) -> ProgressCall:
    """Stages of each member of an ensemble apart; 0: there is only one."""
    if not member:
        return progress

    def report(stage: str, done: int, of: int, note: str = "") -> None:
        progress(f"{stage} {member}", done, of, note)

    return report


def _scale(model: PatchCoreModel) -> float:
    """A distance far below the rows' own length is rounding."""
    length = float(np.sqrt(np.mean(np.sum(np.square(model.bank, dtype=np.float64), axis=1))))
    return length**2 if model.settings.scoring == "maximum" else length
