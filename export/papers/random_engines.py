"""Engines of the papers' networks with random weights, to be timed: times do not depend on them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from pyad_edge.disk import save_picture
from pyad_edge.engine_manifest import Preprocessing
from pyad_edge.export.methods.fod.backbone import build_backbone
from pyad_edge.export.methods.fod.engine import FodModel
from pyad_edge.export.methods.fod.engine import export_engine as export_fod
from pyad_edge.export.methods.fod.engine import export_model as export_fod_model
from pyad_edge.export.methods.fod.model import Fod
from pyad_edge.export.methods.fod.reference import build_reference
from pyad_edge.export.methods.fod.settings import make_settings as fod_settings
from pyad_edge.export.methods.grad.detector import LEVELS, PRESETS, Detector, GradModel
from pyad_edge.export.methods.grad.engine import export_engine as export_grad
from pyad_edge.export.methods.grad.engine import export_model as export_grad_model
from pyad_edge.export.methods.grad.settings import make_settings as grad_settings
from pyad_edge.export.methods.patchcore import make_settings
from pyad_edge.export.methods.patchcore.fit import Calibration
from pyad_edge.export.methods.reconpatch.settings import make_reconpatch_settings
from pyad_edge.export.onnx import export_backbone
from pyad_edge.export.train import train_patchcore

__all__ = ["MAKERS", "bank_engine", "fod_engine", "grad_engine", "noise"]

BANK_SIZE, BANK_DIM, BANK_ROWS = 224, 1024, 1638  # 1 % of 209 pictures, MVTec AD's mean
RECONPATCH_DIM = 512
FITTED, CALIBRATED = 12, 4
PATCHES = (BANK_SIZE // 8) ** 2
FINGERPRINT = "random weights"
Frame = NDArray[np.uint8]


def bank_engine(
    folder: Path, *, reconpatch: bool = False, network: str = "wide_resnet50_2"
) -> Path:
    """A memory bank of 1,638 rows at 224 px: of PatchCore, 1024 dims, or ReConPatch, 512.

    Args:
        folder: for the engine.
        reconpatch: whether a linear map is learned, hardly, and folded into the network.
        network: of timm.
    """
    pictures = folder / "noise"
    for number, picture in enumerate(noise((BANK_SIZE, BANK_SIZE), FITTED + CALIBRATED)):
        save_picture(pictures / f"{number:03}.png", picture)
    onnx = folder / f"{network}.onnx"
    if not onnx.exists():
        export_backbone(network, weights="random", layers="2,3", out=onnx)
    engine = folder / f"{'reconpatch' if reconpatch else 'patchcore'}.pyad"
    train_patchcore(
        pictures,
        engine,
        settings=make_settings(
            resize=(BANK_SIZE, BANK_SIZE),
            pre_dim=BANK_DIM,
            target_dim=BANK_DIM,
            coreset=(BANK_ROWS + 0.5) / (FITTED * PATCHES),
            holdout=CALIBRATED / (FITTED + CALIBRATED),
        ),
        reconpatch=make_reconpatch_settings(dim=RECONPATCH_DIM, epochs=0.1, start="random")
        if reconpatch
        else None,
        backbone=str(onnx),
    )
    return engine


def fod_engine(folder: Path, *, network: str = "tf_efficientnet_b6") -> tuple[Path, FodModel]:
    """FOD at 256 px with the paper's transformers.

    Args:
        folder: for the engine.
        network: of timm.
    """
    settings = fod_settings()
    backbone = build_backbone(network, weights="random", levels=settings.levels)
    pictures = np.random.default_rng(0).normal(size=(2, 3, 256, 256)).astype(np.float32)
    features = backbone(torch.from_numpy(pictures))
    references = [
        build_reference("mean", level.numpy(), grid=grid, size=1, seed=0)
        for level, grid in zip(features, settings.grids, strict=True)
    ]
    preprocessing = Preprocessing(
        resize=(256, 256), crop=None, mean=backbone.mean, std=backbone.std, color_order="rgb"
    )
    torch.manual_seed(0)
    model = export_fod_model(
        Fod(backbone, references, settings).eval(), settings, preprocessing=preprocessing
    )
    scores = np.array([0.1, 0.2], np.float32)
    path = export_fod(
        folder / "fod.pyad",
        model,
        model.pipeline(),
        Calibration(scores, scores),
        pictures=2,
        golden=_golden(),
        fingerprint=FINGERPRINT,
        facts={},
    )
    return path, model


def grad_engine(folder: Path, *, preset: Literal["accurate", "compact"] = "accurate") -> Path:
    """Three of GRAD's detectors at 256 px, whose map varies; no frame has regions.

    Args:
        folder: for the engine.
        preset: widths of the detectors.
    """
    torch.manual_seed(0)
    model = GradModel({n: Detector(PRESETS[preset]) for n in LEVELS}, preset=preset).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    made = export_grad_model(
        model,
        grad_settings(preset=preset),
        preprocessing=Preprocessing(
            resize=(256, 256),
            crop=None,
            mean=(0.485, 0.456, 0.406),
            std=(0.229, 0.224, 0.225),
            color_order="rgb",
        ),
    )
    pipeline = made.pipeline()
    frames = noise((256, 256), 8)
    limits = np.array([0.9, 1.1]) * max(float(pipeline.score([f]).image[0]) for f in frames)
    return export_grad(
        folder / f"{preset}.pyad",
        made,
        pipeline,
        Calibration(limits.astype(np.float32), limits.astype(np.float32)),
        pictures=2,
        golden=_golden(),
        fingerprint=FINGERPRINT,
        facts={},
    )


def noise(size: tuple[int, int], count: int) -> list[Frame]:
    """Frames (H, W, 3) of noise."""
    rng = np.random.default_rng(1)
    return [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for _ in range(count)]


def _golden() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3), np.uint8)


MAKERS: Mapping[str, Callable[[Path], Path]] = MappingProxyType(
    {
        "patchcore": bank_engine,
        "reconpatch": lambda folder: bank_engine(folder, reconpatch=True),
        "fod": lambda folder: fod_engine(folder)[0],
        "grad": grad_engine,
    }
)
"""An engine like the one behind each paper's latency."""
