"""A real engine in a second: generated pictures, a tiny backbone, the real fit and export."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tiny_models import tiny_backbone

from pyad_edge.export.backbones import resolve_backbone
from pyad_edge.export.data import fingerprint, load_dataset, split_holdout
from pyad_edge.export.demo.part import write_dataset
from pyad_edge.export.methods.patchcore import (
    PatchCoreModel,
    calibrate,
    export_engine,
    fit,
    golden_frames,
    make_settings,
)
from pyad_edge.images import read_image

SIZE = 64
SETTINGS = {"resize": (SIZE, SIZE), "coreset": 0.1, "seed": 3, "false_reject": 0.2}


@dataclass(frozen=True, eq=False)
class TinyEngine:
    """An engine file, and the model and scores that it was written from.

    Attributes:
        path: the engine.
        data: the data set behind it, MVTec layout.
        backbone: the ONNX file.
        model: before saving.
        scores: of every test picture by its name, from the pipeline in memory, before saving.
    """

    path: Path
    data: Path
    backbone: Path
    model: PatchCoreModel
    scores: dict[str, float]


def write_pictures(folder: Path) -> Path:
    """Ten good parts to learn from, three good ones and one of every defect to test."""
    return write_dataset(folder, seed=11, train=10, good=3, per_defect=1, size=96)


def write_backbone(path: Path) -> Path:
    path.write_bytes(tiny_backbone())
    return path


def write_engine(path: Path, data: Path, backbone: Path, **settings: object) -> TinyEngine:
    """Fit, calibrate and export, as ``train_patchcore`` does."""
    chosen = make_settings(**(SETTINGS | settings))
    dataset = load_dataset(data)
    paths, held = split_holdout(dataset.train, fraction=0.3, seed=0)
    model = fit(
        paths,
        resolve_backbone(backbone),
        chosen,
        names=[f"train/good/{picture.name}" for picture in paths],
    )
    pipeline = model.pipeline()
    scores = {
        str(sample.path): float(pipeline.score([read_image(sample.path)]).image[0])
        for sample in dataset.test
    }
    export_engine(
        path,
        model,
        pipeline,
        calibrate(pipeline, held),
        golden=golden_frames(held),
        fingerprint=fingerprint(paths),
    )
    return TinyEngine(path, data, backbone, model, scores)
