"""Export a trained ReContrast model as an engine file."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyad_edge.backends.onnxruntime import OnnxRuntimeBackend
from pyad_edge.cosine_pipeline import CosinePipeline
from pyad_edge.engine_manifest import CosineHead, Preprocessing
from pyad_edge.errors import BackendError
from pyad_edge.export.methods.patchcore.fit import Calibration
from pyad_edge.export.methods.recontrast.agreement import model_score
from pyad_edge.export.methods.recontrast.graph import InferenceGraph
from pyad_edge.export.methods.recontrast.model import ReContrast
from pyad_edge.export.methods.recontrast.network_file import NetworkFile, write_network
from pyad_edge.export.methods.recontrast.settings import ReContrastSettings
from pyad_edge.export.methods.trained_engine import (
    TrainedNetwork,
    TrainingRecord,
    write_trained_engine,
)
from pyad_edge.feeder import DeclaredInput
from pyad_edge.input_choice import declared_pipeline
from pyad_edge.pipeline import Pipeline, unscorable
from pyad_edge.preprocessing import input_size

__all__ = ["ReContrastModel", "check_agreement", "export_engine", "export_model"]

MEANINGS = {
    "maximum": "Largest value of the smoothed sum of cosine distances between features and their "
    "reconstructions (Guo et al. 2023)",
    "mean": "Mean of the smoothed sum of cosine distances between features and their "
    "reconstructions (Guo et al. 2023)",
}
MAX_DIFFERENCE = 1e-4


@dataclass(frozen=True, eq=False)
class ReContrastModel:
    """A trained model as an engine will hold it, complete but for its calibration.

    Attributes:
        settings: what it was trained with.
        backbone: name of the encoder; weights_sha256: of what it started from.
        graph, network: the network, and its ONNX file.
        preprocessing: of frames.
        declared: frames that it was trained on; None: 8-bit RGB pictures, resized.
    """

    settings: ReContrastSettings
    backbone: str
    weights_sha256: str
    graph: InferenceGraph
    network: NetworkFile
    preprocessing: Preprocessing
    declared: DeclaredInput | None = None

    @property
    def head(self) -> CosineHead:
        """As the manifest holds it."""
        return CosineHead(
            type="cosine_distance",
            pairs=self.network.pairs,
            score=self.settings.score,
            align_corners=True,
        )

    def pipeline(self, *, threads: int | None = None) -> Pipeline:
        """The pipeline that the exported engine will run."""
        parts: dict[str, Any] = {
            "preprocessing": self.preprocessing,
            "backend": OnnxRuntimeBackend(
                self.network.model,
                outputs=self.network.outputs,
                input_size=input_size(self.preprocessing),
                threads=threads,
            ),
            "head": self.head,
            "sigma": self.settings.sigma,
        }
        if self.declared is None:
            return CosinePipeline(**parts)
        return declared_pipeline(parts, self.declared, grid=self.network.grid)


def export_model(
    model: ReContrast,
    settings: ReContrastSettings,
    *,
    backbone: str,
    weights_sha256: str,
    preprocessing: Preprocessing,
    declared: DeclaredInput | None = None,
) -> ReContrastModel:
    """Make the inference network of a trained model.

    Raises:
        BackendError: if the ONNX file cannot be made or computes something else.
    """
    graph = InferenceGraph(model, pairs=settings.pairs)
    network = write_network(
        graph,
        name=backbone,
        size=settings.input_size,
        mean=preprocessing.mean,
        std=preprocessing.std,
    )
    return ReContrastModel(
        settings, backbone, weights_sha256, graph, network, preprocessing, declared
    )


def check_agreement(
    model: ReContrast,
    settings: ReContrastSettings,
    pipeline: Pipeline,
    frames: Sequence[NDArray[Any]],
) -> float:
    """Largest relative difference of picture scores, torch's model against the engine's network.

    Both score the same input, the model as it was trained: norms not folded. Regions of interest
    leave nothing out here.

    Args:
        model: trained; evaluated in float32 on the CPU.
        settings: which pairs and which score.
        pipeline: of the exported network.
        frames: as the pipeline takes them.

    Raises:
        BackendError: if a difference is above 1e-4, or a score is not finite.
    """
    worst = 0.0
    x = np.empty((1, 3, *settings.input_size), np.float32)
    maps = np.empty((1, *settings.input_size), np.float32)
    maxima, means = np.empty(1, np.float32), np.empty(1, np.float32)
    own = pipeline.own
    for frame in frames:
        own.write_input(frame, out=x)
        expected = model_score(model, x, settings)
        with unscorable("recontrast"):
            outputs = own.backend.run(x)
            found = float(own.head.write(outputs, maps=maps, maxima=maxima, means=means)[0])
        worst = max(worst, abs(found - expected) / abs(expected))
        if not worst <= MAX_DIFFERENCE:  # NaN too
            raise BackendError(
                f"[recontrast] the exported network scores a picture {found:.7g}, torch "
                f"{expected:.7g}; a relative difference of {MAX_DIFFERENCE:.0e} is accepted. Did "
                "the training diverge? Look at the losses with --log FILE.csv."
            )
    return worst


def export_engine(
    path: str | os.PathLike[str],
    model: ReContrastModel,
    pipeline: Pipeline,
    calibration: Calibration,
    *,
    pictures: int,
    golden: NDArray[Any],
    fingerprint: str,
    facts: Mapping[str, str | int | float | bool],
) -> Path:
    """Write the engine file, atomically.

    Args:
        path: of the new file.
        model, pipeline, calibration: from export_model, ``model.pipeline()`` and calibrate.
        pictures: that were trained on.
        golden: (G, H, W, ...) frames, scored now and at every open.
        fingerprint: SHA-256 of the training pictures.
        facts: about the training, for whoever reads the file.

    Raises:
        ResourceError: if the disk is full.
        SettingError: if the folder does not exist or may not be written.
    """
    network = TrainedNetwork(
        method="recontrast",
        name=model.backbone,
        weights_sha256=model.weights_sha256,
        model=model.network.model,
        outputs=model.network.outputs,
        grid=model.network.grid,
        head=model.head,
        meaning=MEANINGS[model.settings.score],
        preprocessing=model.preprocessing,
        declared=model.declared,
        tensors={},
    )
    record = TrainingRecord(pictures, golden, fingerprint, facts)
    return write_trained_engine(path, network, pipeline, calibration, model.settings, record)
