"""From folders of pictures to an engine file: the stages of ``pyad-edge train fod``."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from pyad_edge.calibration import Threshold, threshold_for
from pyad_edge.engine_manifest import Preprocessing
from pyad_edge.errors import SettingError
from pyad_edge.export.frame_settings import FrameSettings
from pyad_edge.export.methods.fod.backbone import Backbone, build_backbone
from pyad_edge.export.methods.fod.engine import check_agreement, export_engine, export_model
from pyad_edge.export.methods.fod.fit import CheckpointOptions, check_memory, fit
from pyad_edge.export.methods.fod.model import Fod
from pyad_edge.export.methods.fod.settings import FodSettings
from pyad_edge.export.methods.patchcore.engine import golden_frames
from pyad_edge.export.methods.patchcore.fit import calibrate
from pyad_edge.export.progress import ProgressCall, silent
from pyad_edge.export.training.device import choose_device
from pyad_edge.export.training.loop import LoopReport
from pyad_edge.export.training.pictures import PictureSource
from pyad_edge.export.training.stages import TrainingData, check_spread, check_target, open_data
from pyad_edge.feeder import DeclaredInput, Feeder
from pyad_edge.frame_files import read_frame
from pyad_edge.input_choice import pixel_format_of

__all__ = ["FodReport", "TrainedFod", "fit_fod", "train_fod"]

COMPARED = 8  # calibration pictures that torch scores too
Folders = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


@dataclass(frozen=True)
class FodReport:
    """What a training did.

    Attributes:
        path: the engine file.
        pictures, calibration_pictures: trained on, and held out of the training.
        steps: in all; resumed_from: made before this call.
        loss: of the reconstruction, mean of the last tenth of the steps.
        threshold: in the engine, with what backs it.
        difference: largest relative difference of a score, torch's model against the engine.
        seconds: in all.
        notes: sentences about the data that a user should read.
    """

    path: Path
    pictures: int
    calibration_pictures: int
    steps: int
    resumed_from: int
    loss: float
    threshold: Threshold
    difference: float
    seconds: float
    notes: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class TrainedFod:
    """A model before its export, with what that needs.

    Attributes:
        model: on the CPU, in evaluation mode.
        loop: what the training did.
        pictures: trained on and held out.
        preprocessing, declared: of frames.
    """

    model: Fod
    loop: LoopReport
    pictures: TrainingData
    preprocessing: Preprocessing
    declared: DeclaredInput | None

    @property
    def loss(self) -> float:
        """Of the reconstruction, mean of the last tenth of the steps."""
        last = self.loop.losses[-max(1, len(self.loop.losses) // 10) :]
        return sum(last) / len(last)


def fit_fod(
    data: Folders,
    *,
    settings: FodSettings,
    weights: Path | Literal["hub", "random"],
    backbone: str = "resnet18",
    device: str = "cpu",
    options: CheckpointOptions | None = None,
    calibration_data: str | os.PathLike[str] | None = None,
    frames: FrameSettings | None = None,
    threads: int | None = None,
    progress: ProgressCall = silent,
) -> TrainedFod:
    """Train alone; arguments and errors are those of :func:`train_fod`."""
    where = choose_device(device)
    if threads is not None:
        torch.set_num_threads(threads)
    network = build_backbone(backbone, weights=weights, levels=settings.levels, seed=settings.seed)
    if frames is not None:
        frames.check_fit(resize=settings.resize, crop=settings.crop, index=None)
        if frames.size_policy == "tile":
            raise SettingError(
                "[fod] frames cannot be cut into tiles: patches are correlated over the whole "
                "picture. Use --size-policy resize or letterbox."
            )
    pictures = open_data(
        data,
        holdout=settings.holdout,
        seed=settings.seed,
        resize=settings.resize,
        crop=settings.crop,
        calibration_data=calibration_data,
        frames=frames,
    )
    room = check_memory(network, settings, where, pictures=len(pictures.fit))
    preprocessing = Preprocessing(
        resize=settings.resize,
        crop=settings.crop,
        mean=network.mean,
        std=network.std,
        color_order=frames.color_order if frames is not None else "rgb",
    )
    declared, feeder = None, None
    if frames is not None:
        declared = frames.declare(
            sizes=set(pictures.sizes), input_size=settings.input_size, levels=settings.grids
        )
        feeder = Feeder(preprocessing, declared, grid=settings.grids[0], sigma=settings.sigma)
    source = PictureSource(pictures.fit, preprocessing, feeder=feeder, limit=room)
    model, loop = fit(
        network,
        source,
        settings,
        identity=_identity(settings, network, pictures),
        device=where,
        options=options,
        progress=progress,
    )
    return TrainedFod(model, loop, pictures, preprocessing, declared)


def train_fod(
    data: Folders,
    out: str | os.PathLike[str],
    *,
    settings: FodSettings,
    weights: Path | Literal["hub", "random"],
    backbone: str = "resnet18",
    device: str = "cpu",
    options: CheckpointOptions | None = None,
    calibration_data: str | os.PathLike[str] | None = None,
    frames: FrameSettings | None = None,
    threads: int | None = None,
    progress: ProgressCall = silent,
) -> FodReport:
    """Train, calibrate and export.

    Args:
        data: MVTec layout, or a folder of good pictures; several: one engine for all products.
        out: the engine file to write; an old one stays until the new one is complete.
        settings: see there.
        weights: of the backbone: a safetensors file, ``hub`` or ``random`` (tests).
        backbone: a network of timm with feature levels.
        device: ``cpu``, ``cuda`` or ``cuda:N``.
        options: checkpoint and logs.
        calibration_data: folder of further good pictures; none: ``settings.holdout`` decides.
        frames: what frames will come; none: 8-bit RGB or mono pictures, resized.
        threads: of training and network on the CPU.
        progress: called with (stage, done, of, note).

    Raises:
        DataError: if a picture cannot be used, or calibration scores have no spread.
        SettingError: if settings, device or frames do not fit.
        BackendError: if packages or the device are missing, or the export fails.
        ResourceError: if the memory will not do; nothing was trained then.
    """
    start = time.perf_counter()
    out = Path(out)
    check_target(out)
    done = fit_fod(
        data,
        settings=settings,
        weights=weights,
        backbone=backbone,
        device=device,
        options=options,
        calibration_data=calibration_data,
        frames=frames,
        threads=threads,
        progress=progress,
    )
    pictures = done.pictures
    exported = export_model(
        done.model, settings, preprocessing=done.preprocessing, declared=done.declared
    )
    pipeline = exported.pipeline(threads=threads)
    golden = golden_frames(pictures.held, declared=done.declared)
    few = [read_frame(path, pixel_format_of(done.declared)) for path in pictures.held[:COMPARED]]
    difference = check_agreement(done.model, settings, pipeline, few)
    calibration = calibrate(pipeline, pictures.held, progress=progress)
    check_spread(calibration.scores, scale=0.0)
    export_engine(
        out,
        exported,
        pipeline,
        calibration,
        pictures=len(pictures.fit),
        golden=golden,
        fingerprint=pictures.fingerprint,
        facts=_facts(settings, done),
    )
    return FodReport(
        path=out,
        pictures=len(pictures.fit),
        calibration_pictures=len(pictures.held),
        steps=done.loop.steps,
        resumed_from=done.loop.resumed_from,
        loss=done.loss,
        threshold=threshold_for(calibration.scores, settings.false_reject),
        difference=difference,
        seconds=time.perf_counter() - start,
        notes=pictures.notes,
    )


def _identity(
    settings: FodSettings, backbone: Backbone, pictures: TrainingData
) -> dict[str, object]:
    """What must be equal for a checkpoint to fit; what only the export reads may change."""
    free = {"score", "sigma", "false_reject", "memory_limit"}
    return {
        "method": "fod",
        "settings": settings.model_dump(mode="json", exclude=free),
        "backbone": {"name": backbone.name, "weights_sha256": backbone.weights_sha256},
        "fingerprint": pictures.fingerprint,
    }


def _facts(settings: FodSettings, done: TrainedFod) -> dict[str, str | int | float | bool]:
    kept = ("epochs", "batch", "rate", "schedule", "rows", "precision", "holdout", "skip")
    more = ("lambda_divergence", "lambda_entropy", "heads", "layers", "reference", "views")
    facts = {name: getattr(settings, name) for name in (*kept, *more)}
    return facts | {"iterations": done.loop.steps, "last_loss": done.loss}
