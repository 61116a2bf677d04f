"""Draw docs/input-tiles.png: the map of a large frame, on one grid of patches and tile by tile.

python benchmarks/tiles_picture.py docs/input-tiles.png
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pyad_edge import Runtime
from pyad_edge.export.frame_settings import FrameSettings
from pyad_edge.export.methods.patchcore import make_settings
from pyad_edge.export.train import train_patchcore

SIZE, TILE, OVERLAP = (640, 896), 256, 128
GAP = 8


def sheet(seed: int) -> NDArray[np.uint8]:
    """Brushed metal, (H, W, 3) uint8."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=SIZE)
    brushed = np.asarray(cv2.GaussianBlur(noise, (0, 0), sigmaX=14.0, sigmaY=0.8))
    light = np.linspace(-12, 12, SIZE[1])[np.newaxis]
    grey = np.clip(128 + 160 * brushed + light, 0, 255).astype(np.uint8)
    return np.repeat(grey[..., np.newaxis], 3, axis=2)


def damaged(seed: int) -> NDArray[np.uint8]:
    """The same with a scratch across several tiles, and two dents on their borders."""
    picture = sheet(seed)
    cv2.line(picture, (180, 470), (700, 330), (205, 205, 205), 2, cv2.LINE_AA)
    cv2.circle(picture, (256, 128), 7, (60, 60, 60), -1, cv2.LINE_AA)
    cv2.circle(picture, (640, 512), 6, (215, 215, 215), -1, cv2.LINE_AA)
    return picture


def heat(values: NDArray[np.float32], top: float) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 RGB, 0 to ``top``."""
    level = np.clip(values / top * 255, 0, 255).astype(np.uint8)
    coloured = cv2.applyColorMap(level, cv2.COLORMAP_INFERNO)
    return np.asarray(cv2.cvtColor(coloured, cv2.COLOR_BGR2RGB), np.uint8)


def main(target: Path) -> None:
    """Fit on good sheets, draw a damaged one."""
    with tempfile.TemporaryDirectory() as folder:
        good = Path(folder) / "good"
        good.mkdir()
        for seed in range(12):
            Image.fromarray(sheet(seed)).save(good / f"{seed:02}.png")
        engine = Path(folder) / "sheet.pyad"
        train_patchcore(
            good,
            engine,
            settings=make_settings(resize=(TILE, TILE), coreset=0.02, holdout=0.3),
            frames=FrameSettings(size_policy="tile", overlap=(OVERLAP, OVERLAP)),
        )
        runtime = Runtime(engine)
        frame = damaged(99)
        seamless = runtime.infer(frame).anomaly_map
        alone = np.zeros(SIZE, np.float32)
        for top in range(0, SIZE[0], TILE):
            for left in range(0, SIZE[1], TILE):
                y, x = min(top, SIZE[0] - TILE), min(left, SIZE[1] - TILE)
                piece = runtime.infer(frame[y : y + TILE, x : x + TILE]).anomaly_map
                alone[y : y + TILE, x : x + TILE] = piece
    scale = float(seamless.max())
    white = np.full((SIZE[0], GAP, 3), 255, np.uint8)
    panels = (frame, white, heat(seamless, scale), white, heat(alone, scale))
    joined = Image.fromarray(np.concatenate(panels, axis=1))
    width = 1200
    reduced = joined.resize((width, round(joined.height * width / joined.width)))
    reduced.quantize(128).save(target, optimize=True)
    step = np.abs(np.diff(seamless, axis=1)).max(axis=0)
    naive = np.abs(np.diff(alone, axis=1)).max(axis=0)
    print(f"{target}: {target.stat().st_size / 1e3:.0f} kB; largest step between neighbouring")
    print(f"columns: one grid {step.max() / scale:.3f}, tile by tile {naive.max() / scale:.3f}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
