"""Export trained GRAD detectors as an engine file."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pyad_edge.backends.onnxruntime import OnnxRuntimeBackend
from pyad_edge.engine_manifest import Preprocessing, ScoreMapHead
from pyad_edge.errors import BackendError
from pyad_edge.export.methods.grad.agreement import model_map
from pyad_edge.export.methods.grad.detector import GradModel
from pyad_edge.export.methods.grad.graph import OUTPUT, InferenceGraph
from pyad_edge.export.methods.grad.network_file import NetworkFile, write_network
from pyad_edge.export.methods.grad.settings import GradSettings
from pyad_edge.export.methods.patchcore.fit import Calibration
from pyad_edge.export.methods.trained_engine import (
    TrainedNetwork,
    TrainingRecord,
    write_trained_engine,
)
from pyad_edge.feeder import DeclaredInput
from pyad_edge.input_choice import declared_pipeline, plain_pipeline
from pyad_edge.pipeline import Pipeline
from pyad_edge.preprocessing import input_size

__all__ = ["GradEngine", "check_agreement", "export_engine", "export_model"]

MEANING = (
    "Largest patch score, log(1 + exp(m)) of the fused map m of patch-level detectors in units of "
    "normal pictures' spread (Dai et al. 2024)"
)
MAX_DIFFERENCE = 1e-4
SMALL = 0.01  # scores below it are compared as if they were it: their logits are far from any limit


@dataclass(frozen=True, eq=False)
class GradEngine:
    """Trained detectors as an engine will hold them, complete but for its calibration.

    Attributes:
        settings: what they were trained with.
        name: of the network.
        graph, network: the network, and its ONNX file.
        preprocessing: of frames.
        declared: frames that it was trained on; None: 8-bit RGB pictures, resized.
    """

    settings: GradSettings
    name: str
    graph: InferenceGraph
    network: NetworkFile
    preprocessing: Preprocessing
    declared: DeclaredInput | None = None

    @property
    def head(self) -> ScoreMapHead:
        """As the manifest holds it."""
        return ScoreMapHead(type="score_map", levels=self.graph.levels, fusion=self.graph.fusion)

    def pipeline(self, *, threads: int | None = None) -> Pipeline:
        """The pipeline that the exported engine will run."""
        parts: dict[str, Any] = {
            "preprocessing": self.preprocessing,
            "backend": OnnxRuntimeBackend(
                self.network.model,
                outputs=(OUTPUT,),
                input_size=input_size(self.preprocessing),
                threads=threads,
            ),
            "head": self.head,
            "sigma": self.settings.sigma,
        }
        if self.declared is None:
            return plain_pipeline(parts)
        return declared_pipeline(parts, self.declared, grid=self.network.grid)


def export_model(
    model: GradModel,
    settings: GradSettings,
    *,
    preprocessing: Preprocessing,
    declared: DeclaredInput | None = None,
) -> GradEngine:
    """Make the inference network of trained detectors.

    Args:
        model: trained, its normalisation known; left as it is.
        settings: see there.
        preprocessing: of frames.
        declared: frames that it was trained on; None: 8-bit RGB pictures, resized.

    Raises:
        BackendError: if the normalisation is no normalisation, or the ONNX file cannot be made or
            computes something else.
    """
    for level, mean, deviation in zip(model.levels, model.means, model.deviations, strict=True):
        if not (torch.isfinite(mean) and 1e-12 <= deviation < torch.inf):
            raise BackendError(
                f"[grad] level {level}: expected a finite mean and a deviation above 0 of normal "
                f"pictures' logits, got {float(mean):g} and {float(deviation):g}. Did the training "
                "diverge? Look at the losses with --log FILE.csv."
            )
    name = f"grad {model.preset}"
    graph = InferenceGraph(model)
    network = write_network(graph, name=name, mean=preprocessing.mean, std=preprocessing.std)
    return GradEngine(settings, name, graph, network, preprocessing, declared)


def check_agreement(model: GradModel, pipeline: Pipeline, frames: Sequence[NDArray[Any]]) -> float:
    """Largest relative difference of score maps, torch's model against the engine's network.

    Both see the same input, the model as it was trained: coordinates are channels, nothing is
    folded. Differences are relative to the map's largest value, the score, or to 0.01 if that is
    more. Regions of interest leave nothing out here.

    Args:
        model: trained; evaluated in float32 on the CPU.
        pipeline: of the exported network.
        frames: as the pipeline takes them.

    Raises:
        BackendError: if a difference is above 1e-4, or a score is not finite.
    """
    worst = 0.0
    own = pipeline.own
    x = np.empty((1, 3, *own.input_size), np.float32)
    for frame in frames:
        own.write_input(frame, out=x)
        expected = model_map(model, x)[0]
        found = own.backend.run(x)[0][0, 0].astype(np.float64)
        difference = np.abs(found - expected).max() / max(float(expected.max()), SMALL)
        worst = float(np.maximum(worst, difference))  # NaN wins
        if not worst <= MAX_DIFFERENCE:
            raise BackendError(
                f"[grad] the exported network scores a picture {found.max():.7g}, torch "
                f"{expected.max():.7g}, and their maps differ by {worst:.1e}; a relative "
                f"difference of {MAX_DIFFERENCE:.0e} is accepted. Did the training diverge? Look "
                "at the losses with --log FILE.csv."
            )
    return worst


def export_engine(
    path: str | os.PathLike[str],
    model: GradEngine,
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
        method="grad",
        name=model.name,
        # Trained from scratch: the weights come from nowhere but the file.
        weights_sha256=None,
        model=model.network.model,
        outputs=(OUTPUT,),
        grid=model.network.grid,
        head=model.head,
        meaning=MEANING,
        preprocessing=model.preprocessing,
        declared=model.declared,
        tensors={},
    )
    record = TrainingRecord(pictures, golden, fingerprint, facts)
    return write_trained_engine(path, network, pipeline, calibration, model.settings, record)
