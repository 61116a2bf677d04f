"""Write the engine of a trained network whose outputs become a map: ReContrast, FOD, GRAD."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from pyad_edge.engine_heads import Head
from pyad_edge.engine_input import MASK
from pyad_edge.engine_manifest import (
    AnomalyMap,
    CreatedWith,
    Golden,
    ManifestDraft,
    Network,
    Preprocessing,
    ThresholdPolicy,
    Training,
)
from pyad_edge.engine_manifest import Backbone as BackboneRecord
from pyad_edge.export.engine_writer import write_engine
from pyad_edge.export.methods.patchcore.engine import GOLDEN_TOLERANCE
from pyad_edge.export.methods.patchcore.fit import Calibration
from pyad_edge.feeder import DeclaredInput
from pyad_edge.pipeline import Pipeline

__all__ = ["TrainedNetwork", "TrainingRecord", "write_trained_engine"]


class TrainingSettings(Protocol):
    """What every method's settings have."""

    @property
    def sigma(self) -> float: ...

    @property
    def false_reject(self) -> float: ...

    @property
    def seed(self) -> int: ...


@dataclass(frozen=True, eq=False)
class TrainedNetwork:
    """What differs from method to method.

    Attributes:
        method: as the manifest names it.
        name, weights_sha256: of the network and of what it started from; None: from nothing.
        model: the ONNX file's bytes; outputs: that the head reads.
        grid: (h, w) of its patches.
        head: how outputs become a map; meaning: of the score, for people.
        preprocessing, declared: of frames.
        tensors: more of them, by name.
    """

    method: Literal["recontrast", "grad", "fod"]
    name: str
    weights_sha256: str | None
    model: bytes
    outputs: tuple[str, ...]
    grid: tuple[int, int]
    head: Head
    meaning: str
    preprocessing: Preprocessing
    declared: DeclaredInput | None
    tensors: Mapping[str, NDArray[Any]]


@dataclass(frozen=True, eq=False)
class TrainingRecord:
    """What an engine says about its training.

    Attributes:
        pictures: that were trained on.
        golden: (G, H, W, ...) frames, scored now and at every open.
        fingerprint: SHA-256 of the training pictures.
        facts: about the training, for whoever reads the file.
    """

    pictures: int
    golden: NDArray[Any]
    fingerprint: str
    facts: Mapping[str, str | int | float | bool]


def write_trained_engine(
    path: str | os.PathLike[str],
    network: TrainedNetwork,
    pipeline: Pipeline,
    calibration: Calibration,
    settings: TrainingSettings,
    record: TrainingRecord,
) -> Path:
    """Write the engine file, atomically.

    Args:
        path: of the new file.
        network: see there.
        pipeline: the one that the engine will run; scores the golden frames.
        calibration: of normal pictures held out.
        settings: of the training.
        record: of the training.

    Raises:
        ResourceError: if the disk is full.
        SettingError: if the folder does not exist or may not be written.
    """
    scores = [float(pipeline.own.score([frame]).image[0]) for frame in record.golden]
    declared = network.declared
    draft = ManifestDraft(
        method=network.method,
        created_with=CreatedWith(
            pyad_edge=version("pyad_edge"),
            numpy=version("numpy"),
            onnxruntime=str(pipeline.backend.info["version"]),
        ),
        backbone=BackboneRecord(
            name=network.name,
            weights_sha256=network.weights_sha256,
            onnx_sha256=hashlib.sha256(network.model).hexdigest(),
            outputs=network.outputs,
        ),
        preprocessing=network.preprocessing,
        network=Network(input_size=pipeline.input_size, grid=network.grid),
        head=network.head,
        anomaly_map=AnomalyMap(sigma=settings.sigma),
        score_meaning=network.meaning,
        threshold=ThresholdPolicy(false_reject=settings.false_reject),
        training=Training(
            pictures=record.pictures,
            calibration_pictures=len(calibration.scores),
            fingerprint=record.fingerprint,
            seed=settings.seed,
            settings=dict(record.facts),
        ),
        golden=Golden(tolerance=GOLDEN_TOLERANCE),
        input=declared.spec if declared is not None else None,
    )
    tensors: dict[str, NDArray[Any]] = {
        "network/onnx": np.frombuffer(network.model, np.uint8),
        "calibration/scores": calibration.scores,
        "calibration/map_maxima": calibration.map_maxima,
        "golden/frames": record.golden,
        "golden/scores": np.array(scores, np.float32),
        **network.tensors,
    }
    if declared is not None and declared.masks:
        tensors[MASK] = declared.masks[0]
    return write_engine(path, manifest=draft, tensors=tensors)
