"""Pictures for distilling `edge18`: photographs and textures, cropped, scaled, relit, spoilt."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from pyad_edge.export import student as edge18
from pyad_edge.export import textures

if TYPE_CHECKING:
    import torch

Item = TypeVar("Item")
Pictures = list[NDArray[np.uint8]]  # each (H, W, 3) uint8, RGB

SIZES = (128, 192, 256)
PIXELS = 40 * 128 * 128  # per batch, whatever the size
HELD_OUT_EVERY = 20  # every 20th photograph is kept for validation


def load_naturals(folder: Path) -> tuple[Pictures, Pictures]:
    """Reads all JPEGs; every `HELD_OUT_EVERY`-th by name goes to the second list."""
    files = sorted(folder.glob("*.jpg"))
    if not files:
        raise FileNotFoundError(f"[distill] no *.jpg in {folder}.")
    pictures = [cv2.cvtColor(cv2.imread(str(f)), cv2.COLOR_BGR2RGB) for f in files]
    train = [p for i, p in enumerate(pictures) if i % HELD_OUT_EVERY]
    return train, pictures[::HELD_OUT_EVERY]


def crop(rng: np.random.Generator, picture: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Cuts a random square and scales it, 0.3 to 3 times, to (size, size, 3)."""
    limit = min(picture.shape[:2])
    side = int(np.clip(size / 3.0 ** rng.uniform(-1, 1), min(48, limit), limit))
    y = rng.integers(picture.shape[0] - side + 1)
    x = rng.integers(picture.shape[1] - side + 1)
    how = cv2.INTER_AREA if side > size else cv2.INTER_LINEAR
    window = picture[y : y + side, x : x + side]
    return np.asarray(cv2.resize(window, (size, size), interpolation=how), np.uint8)


def augment(
    rng: np.random.Generator, picture: NDArray[np.uint8], *, defect: float
) -> NDArray[np.uint8]:
    """Turns, greys, relights, blurs and grains a square picture; may put a fault on it first."""
    if rng.random() < defect:
        picture = textures.add_defect(rng, picture)
    if rng.random() < 0.5:
        picture = picture[:, ::-1]
    picture = np.ascontiguousarray(np.rot90(picture, int(rng.integers(4))))
    if rng.random() < 0.4:
        picture = cv2.cvtColor(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    if rng.random() < 0.15:
        picture = cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.4, 2.0))
    if rng.random() < 0.6:
        ramp = np.arange(256, dtype=np.float32) / 255
        gain, shift = 2.0 ** rng.uniform(-1.5, 0.6), rng.uniform(-0.25, 0.25)
        curve = (ramp ** (2.0 ** rng.uniform(-0.7, 0.7)) - 0.5) * gain + 0.5 + shift
        picture = cv2.LUT(picture, (np.clip(curve, 0, 1) * 255).astype(np.uint8))
    if rng.random() < 0.2:
        grain = rng.standard_normal((*picture.shape[:2], 1), dtype=np.float32)
        picture = np.clip(picture + rng.uniform(1, 12) * grain, 0, 255).astype(np.uint8)
    return picture


def batches(
    rng: np.random.Generator, naturals: Pictures, surfaces: Pictures
) -> Iterator[NDArray[np.uint8]]:
    """Endless batches (N, S, S, 3) uint8: half photographs, half textures, S from `SIZES`."""
    while True:
        size = int(rng.choice(SIZES, p=(0.4, 0.3, 0.3)))
        rows = []
        for index in range(PIXELS // size**2):
            source, defect = (naturals, 0.2) if index % 2 else (surfaces, 0.5)
            picture = crop(rng, source[rng.integers(len(source))], size)
            rows.append(augment(rng, picture, defect=defect))
        yield np.stack(rows)


def ahead(source: Iterator[Item], depth: int = 4) -> Iterator[Item]:
    """Draws from `source` in a thread, so that NumPy and OpenCV work while torch does."""
    line: queue.Queue[Item] = queue.Queue(depth)

    def fill() -> None:
        for item in source:
            line.put(item)

    threading.Thread(target=fill, daemon=True).start()
    while True:
        yield line.get()


def normalised(batch: NDArray[np.uint8]) -> torch.Tensor:
    """(N, S, S, 3) uint8 to (N, 3, S, S) float32 in the backbone's units, channels last."""
    import torch

    image = torch.from_numpy(batch).permute(0, 3, 1, 2).float().div_(255)
    mean = torch.tensor(edge18.MEAN).view(3, 1, 1)
    std = torch.tensor(edge18.STD).view(3, 1, 1)
    return image.sub_(mean).div_(std)
