"""From folders of pictures to an engine file: the stages of ``pyad-edge train recontrast``."""

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
from pyad_edge.export.methods.patchcore.engine import golden_frames
from pyad_edge.export.methods.patchcore.fit import calibrate
from pyad_edge.export.methods.recontrast.backbone import Encoder, build_encoder
from pyad_edge.export.methods.recontrast.engine import (
    check_agreement,
    export_engine,
    export_model,
)
from pyad_edge.export.methods.recontrast.fit import CheckpointOptions, check_memory, fit
from pyad_edge.export.methods.recontrast.graph import macs
from pyad_edge.export.methods.recontrast.settings import STRIDE, ReContrastSettings
from pyad_edge.export.progress import ProgressCall, silent
from pyad_edge.export.training.device import choose_device
from pyad_edge.export.training.pictures import PictureSource
from pyad_edge.export.training.stages import TrainingData, check_spread, check_target, open_data
from pyad_edge.feeder import DeclaredInput, Feeder
from pyad_edge.frame_files import read_frame
from pyad_edge.input_choice import pixel_format_of

__all__ = ["ReContrastReport", "train_recontrast"]

COMPARED = 8  # calibration pictures that torch scores too
STRIDES = (4, 8, 16, STRIDE)


@dataclass(frozen=True)
class ReContrastReport:
    """What a training did.

    Attributes:
        path: the engine file.
        pictures, calibration_pictures: trained on, and held out of the training.
        iterations: in all; resumed_from: made before this call.
        loss: mean of the last tenth of the iterations.
        threshold: in the engine, with what backs it.
        gigamacs: multiply-accumulates of the exported network for one picture, in 10^9.
        difference: largest relative difference of a score, torch's model against the engine.
        seconds: in all.
        notes: sentences about the data that a user should read.
    """

    path: Path
    pictures: int
    calibration_pictures: int
    iterations: int
    resumed_from: int
    loss: float
    threshold: Threshold
    gigamacs: float
    difference: float
    seconds: float
    notes: tuple[str, ...]


def train_recontrast(
    data: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    *,
    settings: ReContrastSettings,
    weights: Path | Literal["hub", "random"],
    backbone: str = "resnet18",
    device: str = "cpu",
    options: CheckpointOptions | None = None,
    calibration_data: str | os.PathLike[str] | None = None,
    frames: FrameSettings | None = None,
    threads: int | None = None,
    progress: ProgressCall = silent,
) -> ReContrastReport:
    """Train, calibrate and export.

    Args:
        data: MVTec layout, or a folder of good pictures; several: one engine for all products.
        out: the engine file to write; an old one stays until the new one is complete.
        settings: see there.
        weights: of the encoder to start from: a safetensors file, ``hub`` or ``random`` (tests).
        backbone: a ResNet of timm.
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
        ResourceError: if the memory will not do; nothing was started then.
    """
    start = time.perf_counter()
    out, options = Path(out), options or CheckpointOptions()
    check_target(out)
    where = choose_device(device)
    if threads is not None:
        torch.set_num_threads(threads)
    encoder = build_encoder(backbone, weights=weights, seed=settings.seed)
    room = check_memory(encoder, settings, where)
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
        mean=encoder.mean,
        std=encoder.std,
        color_order=frames.color_order if frames is not None else "rgb",
    )
    declared, feeder = _declare(frames, pictures, settings, preprocessing)
    source = PictureSource(pictures.fit, preprocessing, feeder=feeder, limit=room)
    model, loop = fit(
        encoder,
        source,
        settings,
        identity=_identity(settings, encoder, pictures),
        device=where,
        options=options,
        progress=progress,
    )
    exported = export_model(
        model,
        settings,
        backbone=backbone,
        weights_sha256=encoder.weights_sha256,
        preprocessing=preprocessing,
        declared=declared,
    )
    pipeline = exported.pipeline(threads=threads)
    golden = golden_frames(pictures.held, declared=declared)
    few = [read_frame(path, pixel_format_of(declared)) for path in pictures.held[:COMPARED]]
    difference = check_agreement(model, settings, pipeline, few)
    calibration = calibrate(pipeline, pictures.held, progress=progress)
    check_spread(calibration.scores, scale=1.0)
    last = loop.losses[-max(1, len(loop.losses) // 10) :]
    loss = sum(last) / len(last)
    export_engine(
        out,
        exported,
        pipeline,
        calibration,
        pictures=len(pictures.fit),
        golden=golden,
        fingerprint=pictures.fingerprint,
        facts=_facts(settings, loss),
    )
    return ReContrastReport(
        path=out,
        pictures=len(pictures.fit),
        calibration_pictures=len(pictures.held),
        iterations=loop.steps,
        resumed_from=loop.resumed_from,
        loss=loss,
        threshold=threshold_for(calibration.scores, settings.false_reject),
        gigamacs=macs(exported.graph, size=settings.input_size) / 1e9,
        difference=difference,
        seconds=time.perf_counter() - start,
        notes=pictures.notes,
    )


def _declare(
    frames: FrameSettings | None,
    pictures: TrainingData,
    settings: ReContrastSettings,
    preprocessing: Preprocessing,
) -> tuple[DeclaredInput | None, Feeder | None]:
    if frames is None:
        return None, None
    if frames.size_policy == "tile" and (frames.tile or settings.input_size) != settings.input_size:
        raise SettingError(
            f"[recontrast] tiles of {frames.tile} pixels would be resized to {settings.input_size};"
            " give --tile and --size the same."
        )
    H, W = settings.input_size
    levels = [(H // stride, W // stride) for stride in STRIDES]
    declared = frames.declare(sizes=set(pictures.sizes), input_size=(H, W), levels=levels)
    return declared, Feeder(preprocessing, declared, grid=levels[0], sigma=settings.sigma)


def _identity(
    settings: ReContrastSettings, encoder: Encoder, pictures: TrainingData
) -> dict[str, object]:
    """What must be equal for a checkpoint to fit; what only the export reads may change."""
    free = {"pairs", "score", "sigma", "false_reject", "memory_limit"}
    return {
        "method": "recontrast",
        "settings": settings.model_dump(mode="json", exclude=free),
        "backbone": {"name": encoder.name, "weights_sha256": encoder.weights_sha256},
        "fingerprint": pictures.fingerprint,
    }


def _facts(settings: ReContrastSettings, loss: float) -> dict[str, str | int | float | bool]:
    kept = ("iterations", "batch", "encoder_rate", "decoder_rate", "weight_decay", "batch_norm")
    more = (
        "forget_every",
        "alpha_start",
        "alpha_end",
        "alpha_rise",
        "precision",
        "holdout",
        "pairs",
    )
    return {name: getattr(settings, name) for name in (*kept, *more)} | {"last_loss": loss}
