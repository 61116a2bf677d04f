"""The setting that several benchmarks share: ResNet-18 layers 2+3, 384 dims, MTD, 1 % coreset."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from report import shared

from pyad_edge.backends.onnxruntime import OnnxRuntimeBackend
from pyad_edge.export.backbones import Backbone, resolve_backbone
from pyad_edge.export.methods.patchcore import PatchCoreModel, PatchCoreSettings, make_settings
from pyad_edge.export.methods.patchcore.extract import Extractor, project_all
from pyad_edge.export.onnx import export_backbone

DIM = 384


def resnet18_weights() -> Path:
    return shared("weights", "resnet18_layer3.safetensors")


def resnet18() -> Backbone:
    """ResNet-18 as ONNX, made from the shared weights."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "resnet18.onnx"
        export_backbone("resnet18", weights=resnet18_weights(), layers="2,3", out=file)
        return resolve_backbone(file)


def official_settings(size: int) -> PatchCoreSettings:
    """Whole picture, official embedding and scores, 1 % coreset of all pictures."""
    return make_settings(
        resize=(size, size),
        pre_dim=DIM,
        target_dim=DIM,
        coreset=0.01,
        scoring="maximum",
        holdout=0.0,
        seed=0,
    )


def projected_features(
    paths: Sequence[Path], model: PatchCoreModel, matrix: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Projected features (N, P) of all pictures: what the fit of this model selected from."""
    backend = OnnxRuntimeBackend(model.backbone.model, outputs=model.backbone.layers)
    projected, _ = project_all(
        paths,
        Extractor(model.preprocessing, backend, model.head),
        matrix,
        patches=model.grid[0] * model.grid[1],
        keep=False,
        progress=Progress(),
    )
    return projected


def picks_of(model: PatchCoreModel) -> NDArray[np.int64]:
    """Coreset indices (M,) of a model fitted with a ratio below one."""
    h, w = model.grid
    picture, row, column = model.sources.astype(np.int64).T
    picks: NDArray[np.int64] = (picture * h + row) * w + column
    return picks


class Progress:
    """Prints a line every twenty seconds."""

    def __init__(self) -> None:
        self._start = self._last = time.perf_counter()

    def __call__(self, stage: str, done: int, of: int) -> None:
        now = time.perf_counter()
        if now - self._last > 20:
            print(f"  {stage} {done} of {of}, {now - self._start:.0f} s", flush=True)
            self._last = now
