"""Export a trained FOD model as an engine file."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyad_edge.backends.onnxruntime import OnnxRuntimeBackend
from pyad_edge.engine_manifest import CorrelationHead, Preprocessing
from pyad_edge.errors import BackendError
from pyad_edge.export.methods.fod.graph import InferenceGraph
from pyad_edge.export.methods.fod.model import Fod
from pyad_edge.export.methods.fod.network_file import NetworkFile, write_network
from pyad_edge.export.methods.fod.scoring import model_map
from pyad_edge.export.methods.fod.settings import FodSettings
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

__all__ = ["FodModel", "check_agreement", "export_engine", "export_model"]

MEANINGS = {
    "rec": "Largest value of the smoothed map of reconstruction errors: mean square and 1 - cos "
    "(Yao et al. 2023, eq. 3)",
    "div": "Largest value of the smoothed map of divergences between inter-correlation and target "
    "(Yao et al. 2023, eq. 6)",
    "rec*div": "Largest value of the smoothed map of reconstruction errors times normalised "
    "inter-correlation divergences (Yao et al. 2023, eq. 12); the softmax runs over the patches of "
    "one picture size",
}
MAX_DIFFERENCE = 1e-4


@dataclass(frozen=True, eq=False)
class FodModel:
    """A trained model as an engine will hold it, complete but for its calibration.

    Attributes:
        settings: what it was trained with.
        backbone: name of the backbone; weights_sha256: of its weights.
        network: its ONNX file.
        head: as the manifest holds it.
        keys: (heads, L, d) float32 of each level's reference; None: an output of the network.
        preprocessing: of frames.
        declared: frames that it was trained on; None: 8-bit RGB pictures, resized.
    """

    settings: FodSettings
    backbone: str
    weights_sha256: str
    network: NetworkFile
    head: CorrelationHead
    keys: tuple[NDArray[np.float32] | None, ...]
    preprocessing: Preprocessing
    declared: DeclaredInput | None = None

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
            "keys": self.keys,
            "sigma": self.settings.sigma,
        }
        if self.declared is None:
            return plain_pipeline(parts)
        return declared_pipeline(parts, self.declared, grid=self.head.levels[0].grid)


def export_model(
    model: Fod,
    settings: FodSettings,
    *,
    preprocessing: Preprocessing,
    declared: DeclaredInput | None = None,
) -> FodModel:
    """Make the inference network of a trained model.

    Raises:
        BackendError: if the ONNX file cannot be made or computes something else.
    """
    graph = InferenceGraph(model, score=settings.score)
    network = write_network(
        graph,
        name=model.backbone.name,
        size=settings.input_size,
        mean=preprocessing.mean,
        std=preprocessing.std,
    )
    return FodModel(
        settings,
        model.backbone.name,
        model.backbone.weights_sha256,
        network,
        graph.head,
        tuple(None if k is None else np.ascontiguousarray(k.numpy()) for k in graph.keys),
        preprocessing,
        declared,
    )


def check_agreement(
    model: Fod, settings: FodSettings, pipeline: Pipeline, frames: Sequence[NDArray[Any]]
) -> float:
    """Largest relative difference of picture scores, torch's model against the engine's pipeline.

    Both score the same input of the network, the model as it was trained: nothing folded.

    Args:
        model: trained; evaluated in float32 on the CPU.
        settings: which score.
        pipeline: of the exported network.
        frames: as the pipeline takes them.

    Raises:
        BackendError: if a difference is above 1e-4, or a score is not finite.
    """
    worst = 0.0
    x = np.empty((1, 3, *settings.input_size), np.float32)
    own = pipeline.own
    info = own.input_info
    masked = bool(info["regions_of_interest"]) or info["size_policy"] == "letterbox"
    for frame in frames:
        own.write_input(frame, out=x)
        maps, _ = model_map(model, x, settings.score, sigma=settings.sigma)
        scores = own.score([frame])
        # What a region of interest or the frame's own shape leaves out is 0 in the engine's map.
        shown = scores.maps[0] != own.outside if masked else np.ones(maps[0].shape, bool)
        found, expected = float(scores.image[0]), float(maps[0][shown].max())
        worst = max(worst, abs(found - expected) / max(abs(expected), 1e-30))
        if not worst <= MAX_DIFFERENCE:  # NaN too
            raise BackendError(
                f"[fod] the exported network scores a picture {found:.7g}, torch {expected:.7g}; a "
                f"relative difference of {MAX_DIFFERENCE:.0e} is accepted. Did the training "
                "diverge? Look at the losses with --log FILE.csv."
            )
    return worst


def export_engine(
    path: str | os.PathLike[str],
    model: FodModel,
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
    keys = {f"reference/keys/{k}": own for k, own in enumerate(model.keys) if own is not None}
    network = TrainedNetwork(
        method="fod",
        name=model.backbone,
        weights_sha256=model.weights_sha256,
        model=model.network.model,
        outputs=model.network.outputs,
        grid=model.head.levels[0].grid,
        head=model.head,
        meaning=MEANINGS[model.settings.score],
        preprocessing=model.preprocessing,
        declared=model.declared,
        tensors=keys,
    )
    record = TrainingRecord(pictures, golden, fingerprint, facts)
    return write_trained_engine(path, network, pipeline, calibration, model.settings, record)
