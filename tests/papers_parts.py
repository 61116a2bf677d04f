"""Small data sets and calls of ``bench papers`` that its tests share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from command_line import Answer, call
from PIL import Image

SIDE = 48


def write_mvtec(root: Path, categories: tuple[str, ...] = ("bottle", "cable")) -> Path:
    """Smooth pictures of a part with a little noise; defects are bright squares."""
    rng = np.random.default_rng(3)
    for number, category in enumerate(categories):
        y, x = np.mgrid[:SIDE, :SIDE] / SIDE
        plain = 90 + 60 * np.sin(5 * x + number) * np.cos(4 * y)

        def picture(file: Path, *, defect: bool = False, plain: Any = plain) -> None:
            file.parent.mkdir(parents=True, exist_ok=True)
            grey = plain + rng.normal(0, 4, plain.shape) + rng.normal(0, 6)
            if defect:
                grey[10:22, 14:26] += 90
            pixels = np.clip(grey, 0, 255).astype(np.uint8)
            Image.fromarray(pixels).convert("RGB").save(file)

        for index in range(12):
            picture(root / category / f"train/good/{index:03}.png")
        for index in range(4):
            picture(root / category / f"test/good/{index:03}.png")
            picture(root / category / f"test/spot/{index:03}.png", defect=True)
            truth = np.zeros((SIDE, SIDE), np.uint8)
            truth[10:22, 14:26] = 255
            file = root / category / f"ground_truth/spot/{index:03}_mask.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(truth).save(file)
    return root


def bench(*arguments: object) -> Answer:
    """Run ``pyad-edge bench papers`` in this process."""
    return call("bench", "papers", *arguments)


def results(folder: Path) -> dict[str, Any]:
    """What it wrote."""
    content: dict[str, Any] = json.loads((folder / "results.json").read_text())
    return content
