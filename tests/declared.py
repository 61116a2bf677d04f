"""Engines with a declared input for tests: trained in a tenth of a second on generated pictures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from tiny_engine import write_backbone

from pyad_edge import Runtime
from pyad_edge.export.frame_settings import FrameSettings
from pyad_edge.export.methods.patchcore import make_settings
from pyad_edge.export.train import train_patchcore

Frame = NDArray[Any]


def texture(size: tuple[int, int], seed: int, *, channels: int = 3) -> NDArray[np.uint8]:
    """Smooth noise with some contrast, (H, W, channels) uint8."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(*size, channels))
    smooth = np.asarray(cv2.GaussianBlur(noise, (0, 0), 2.0)).reshape(*size, channels)
    return np.clip(128 + 300 * smooth, 0, 255).astype(np.uint8)


def write_files(folder: Path, frames: list[Frame]) -> Path:
    """Frames as PNG files (RGB order becomes BGR for OpenCV) or TIFF where they are floats."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, frame in enumerate(frames):
        suffix = "tiff" if frame.dtype == np.float32 else "png"
        stored = frame
        if frame.ndim == 3:
            stored = frame[..., [2, 1, 0, 3][: frame.shape[2]]]
        assert cv2.imwrite(str(folder / f"{number:03}.{suffix}"), stored)
    return folder


def declared_engine(
    folder: Path,
    frames: FrameSettings | None,
    *,
    size: tuple[int, int] = (96, 96),
    resize: tuple[int, int] = (64, 64),
    make: Callable[[int], Frame] | None = None,
    **settings: object,
) -> Path:
    """An engine of ten frames; ``make(seed)`` gives one, ``texture(size, seed)`` if not given."""
    pictures = [make(seed) if make else texture(size, seed) for seed in range(10)]
    write_files(folder / "good", pictures)
    backbone = write_backbone(folder / "tiny.onnx")
    chosen = {"resize": resize, "coreset": 0.2, "holdout": 0.3, "false_reject": 0.2}
    train_patchcore(
        folder / "good",
        folder / "part.pyad",
        settings=make_settings(**(chosen | settings)),
        backbone=str(backbone),
        frames=frames,
    )
    return folder / "part.pyad"


def opened(folder: Path, frames: FrameSettings | None, **settings: Any) -> Runtime:
    """The runtime of such an engine."""
    return Runtime(declared_engine(folder, frames, **settings))
