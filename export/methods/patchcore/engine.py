"""Export a fitted and calibrated PatchCore model as an engine file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyad_edge.engine_fields import Scalar
from pyad_edge.engine_format import encode_names
from pyad_edge.engine_input import MASK
from pyad_edge.engine_manifest import (
    AnomalyMap,
    CreatedWith,
    Golden,
    ManifestDraft,
    Network,
    ThresholdPolicy,
    Training,
)
from pyad_edge.engine_manifest import Backbone as BackboneRecord
from pyad_edge.export.backbones import Backbone
from pyad_edge.export.engine_writer import write_engine
from pyad_edge.export.methods.patchcore.fit import Calibration, PatchCoreModel
from pyad_edge.feeder import DeclaredInput
from pyad_edge.frame_files import read_frame
from pyad_edge.input_choice import pixel_format_of
from pyad_edge.pipeline import Pipeline

__all__ = [
    "MEANINGS",
    "backbone_record",
    "engine_parts",
    "export_engine",
    "golden_frames",
    "settings_record",
]

# The backbone's own differences between machines are about 1e-5; a wrong pre-processing or a broken
# instruction set shifts scores by far more than this.
GOLDEN_TOLERANCE = 1e-3
GOLDEN_SIDE = 256

MEANINGS = {
    "reweighted": (
        "Largest Euclidean distance of a patch to its nearest normal patch, re-weighted by eq. 7 "
        "of Roth et al. 2022"
    ),
    "maximum": "Largest squared Euclidean distance of a patch to its nearest normal patch",
}


def golden_frames(paths: Sequence[Path], *, declared: DeclaredInput | None = None) -> NDArray[Any]:
    """Small frames for the self-test at open, (2, H, W, 3) uint8 or two of the declared format.

    One is the centre of a normal picture at its own resolution, one is noise, which scores high.
    """
    picture = read_frame(paths[0], pixel_format_of(declared))
    wanted = (GOLDEN_SIDE, GOLDEN_SIDE)
    spec = declared.spec if declared is not None else None
    if spec is not None and spec.tiling is not None:
        wanted = spec.tiling.size
    H, W = (min(side, most) for side, most in zip(picture.shape[:2], wanted, strict=True))
    top, left = (picture.shape[0] - H) // 2, (picture.shape[1] - W) // 2
    if declared is not None:  # even numbers: a mosaic begins with the same colours
        top, left = top // 2 * 2, left // 2 * 2
    rng = np.random.default_rng(0)
    shape = (H, W, *picture.shape[2:])
    noise: NDArray[Any]
    if spec is None or spec.window is None:
        noise = rng.integers(0, 256, shape, dtype=np.uint8)
    elif picture.dtype == np.uint16:
        low, high = (int(bound) for bound in spec.window)
        noise = rng.integers(low, high + 1, shape, dtype=np.uint16)
    else:
        noise = rng.uniform(*spec.window, shape).astype(picture.dtype)
    return np.stack((picture[top : top + H, left : left + W], noise))


def export_engine(
    path: str | os.PathLike[str],
    model: PatchCoreModel,
    pipeline: Pipeline,
    calibration: Calibration,
    *,
    golden: NDArray[Any],
    fingerprint: str,
) -> Path:
    """Write the engine file, atomically.

    Args:
        path: of the new file.
        model, pipeline, calibration: from fit, ``model.pipeline()`` and calibrate.
        golden: (G, H, W, ...) frames of :func:`golden_frames`, scored now and at every open.
        fingerprint: SHA-256 of the training pictures.

    Raises:
        ResourceError: if the disk is full.
        SettingError: if the folder does not exist or may not be written.
    """
    draft, tensors = engine_parts(
        model, pipeline, calibration, golden=golden, fingerprint=fingerprint
    )
    return write_engine(path, manifest=draft, tensors=tensors)


def backbone_record(backbone: Backbone) -> BackboneRecord:
    """What an engine says about its network."""
    return BackboneRecord(
        name=backbone.name,
        weights_sha256=backbone.weights_sha256,
        onnx_sha256=backbone.onnx_sha256,
        outputs=backbone.layers,
    )


def settings_record(model: PatchCoreModel) -> dict[str, Scalar]:
    """What an engine says about its fit, beside what has a field of its own."""
    settings = model.settings
    return {
        "holdout": settings.holdout,
        "projection_dim": settings.projection_dim,
        **model.trained,
    }


def engine_parts(
    model: PatchCoreModel,
    pipeline: Pipeline,
    calibration: Calibration,
    *,
    golden: NDArray[Any],
    fingerprint: str,
) -> tuple[ManifestDraft, dict[str, NDArray[Any]]]:
    """Manifest and tensors of the engine; arguments as for :func:`export_engine`."""
    settings, backbone = model.settings, model.backbone
    golden_scores = [float(pipeline.own.score([frame]).image[0]) for frame in golden]
    draft = ManifestDraft(
        method=model.method,
        created_with=CreatedWith(
            pyad_edge=version("pyad_edge"),
            numpy=version("numpy"),
            onnxruntime=str(pipeline.backend.info["version"]),
        ),
        backbone=backbone_record(backbone),
        preprocessing=model.preprocessing,
        network=Network(input_size=pipeline.input_size, grid=model.grid),
        head=model.head,
        anomaly_map=AnomalyMap(sigma=settings.sigma),
        score_meaning=MEANINGS[settings.scoring],
        threshold=ThresholdPolicy(false_reject=settings.false_reject),
        training=Training(
            pictures=len(model.pictures),
            calibration_pictures=len(calibration.scores),
            fingerprint=fingerprint,
            seed=settings.seed,
            coreset_ratio=settings.coreset,
            settings=settings_record(model),
        ),
        golden=Golden(tolerance=GOLDEN_TOLERANCE),
        index=model.index.record if model.index is not None else None,
        input=model.declared.spec if model.declared is not None else None,
    )
    tensors: dict[str, NDArray[Any]] = {
        "network/onnx": np.frombuffer(backbone.model, np.uint8),
        "bank/features": model.bank,
        "bank/sources": model.sources,
        "bank/pictures": encode_names(model.pictures),
        "calibration/scores": calibration.scores,
        "calibration/map_maxima": calibration.map_maxima,
        "golden/frames": golden,
        "golden/scores": np.array(golden_scores, np.float32),
    }
    if model.declared is not None and model.declared.masks:
        tensors[MASK] = model.declared.masks[0]
    if model.index is not None:
        tensors["index/faiss"] = model.index.data
    return draft, tensors
