"""Pictures for a person: what was generated, and how patches are weighed (the paper's Figure 5)."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from pyad_edge.export.atomic_file import replace_file
from pyad_edge.export.methods.grad.detector import PATCH, STRIDE
from pyad_edge.export.methods.grad.reweighting import log_density_weights
from pyad_edge.export.methods.grad.samples import Samples
from pyad_edge.export.methods.grad.settings import GradSettings
from pyad_edge.export.methods.grad.trainer import DetectorTrainer
from pyad_edge.export.methods.grad.windows import LevelPictures, cut

__all__ = ["sample_sheet", "weight_colours", "weight_maps", "weight_sheet", "write_png"]

Picture = NDArray[np.uint8]
ROWS, COLUMNS, GAP, SCALE = 5, 8, 3, 2
FINE = 2  # pixels between two patches of a weight map
DECADES = 2.0  # of weight at most, from the median to full colour


def sample_sheet(pictures: LevelPictures, samples: Samples) -> Picture:
    """(H, W, 3) uint8: a row of normal windows, then generated ones, evenly out of all.

    The first row is cut where the second row's windows were generated.
    """
    count = min(len(samples), ROWS * COLUMNS)
    chosen = np.arange(count) * len(samples) // count
    numbers = np.arange(COLUMNS) * max(1, len(pictures) // COLUMNS) % len(pictures)
    few = min(COLUMNS, count)
    real = cut(pictures.pictures, numbers[:few], samples.places[chosen[:few]], samples.size)
    tiles = [_bytes(real), samples.windows[torch.from_numpy(chosen)]]
    return _grid([_picture(tile) for group in tiles for tile in group], columns=COLUMNS)


def weight_maps(
    trainer: DetectorTrainer, windows: torch.Tensor, *, beta: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Logarithms of w^noisy and w^tail of a window's patches, every second pixel.

    Args:
        trainer: at the end of its training, with full queues.
        windows: (N, 5, H, W) float32 generated, with coordinates.
        beta: of the densities.

    Returns:
        Two (N, h, w), h = (H - 34) // 2 + 1: equation 1, and equation 2 of negative patches.
    """
    N, _, H, W = windows.shape
    h, w = ((side - PATCH) // FINE + 1 for side in (H, W))
    noisy, tail = np.empty((N, h, w)), np.empty((N, h, w))
    # The detector looks every 4 pixels: four passes, shifted, look every 2.
    for y in range(0, STRIDE, FINE):
        for x in range(0, STRIDE, FINE):
            if H - y < PATCH or W - x < PATCH:
                continue
            with torch.no_grad():
                found = trainer.detector.features(windows[..., y:, x:])
            rows, columns = found.shape[-2:]
            flat = found.permute(0, 2, 3, 1).flatten(0, 2).float()
            step = STRIDE // FINE
            where = np.s_[:, y // FINE :: step, x // FINE :: step]
            for target, queue in ((noisy, trainer.positive), (tail, trainer.negative)):
                logs = log_density_weights(flat, queue.rows, beta=beta)
                target[where] = logs.reshape(N, rows, columns).cpu().numpy()
    return noisy, tail


def weight_colours(log_weights: NDArray[np.float64], *, middle: float, full: float) -> Picture:
    """(h, w, 3) uint8: blue for weights below the middle, white at it, red above.

    Args:
        log_weights: (h, w) natural logarithms.
        middle: the logarithm that is white.
        full: how far from it the colours are full.
    """
    share = np.clip((log_weights - middle) / full, -1, 1)[..., None]
    white, red, blue = (np.array(c, float) for c in ((247,) * 3, (178, 24, 43), (33, 102, 172)))
    mixed = white + np.clip(share, 0, 1) * (red - white) + np.clip(-share, 0, 1) * (blue - white)
    return np.asarray(mixed.round(), np.uint8)


def weight_sheet(
    trainer: DetectorTrainer,
    pictures: LevelPictures,
    generated: dict[int, Samples],
    settings: GradSettings,
    *,
    device: torch.device,
) -> Picture:
    """(H, W, 3) uint8: rows of four: normal window, generated window, w^noisy, w^tail.

    Weights are those of patches, drawn where their middles lie; white is the median of each map's
    kind, full red and blue are e^beta times more and less, or a hundred times where that is less.
    The windows are a reach's first, middle and last: generated as a whole, and in a region.
    """
    tiles: list[Picture] = []
    full = min(settings.beta, DECADES * math.log(10))
    for reach in sorted(generated):
        own = generated[reach]
        few = np.linspace(0, len(own) - 1, min(3, len(own))).round().astype(int)
        places = own.places[few]
        where = cut(pictures.where, few, places, own.size)
        shown = own.windows[torch.from_numpy(few)]
        colours = shown.float() / 127.5 - 1.0
        windows = torch.cat((colours, where), dim=1).to(device)
        maps = weight_maps(trainer, windows, beta=settings.beta)
        real = _bytes(cut(pictures.pictures, few % len(pictures), places, own.size))
        middles = [float(np.median(one)) for one in maps]
        for index in range(len(few)):
            tiles += [_picture(real[index]), _picture(shown[index])]
            for one, middle in zip(maps, middles, strict=True):
                painted = weight_colours(one[index], middle=middle, full=full)
                tiles.append(_framed(painted, own.size))
    return _grid(tiles, columns=4)


def write_png(path: Path, picture: Picture) -> None:
    """Write a picture (H, W, 3) RGB.

    Raises:
        SettingError: if the folder does not exist or may not be written.
        ResourceError: if the disk is full or fails.
    """
    data: Any = cv2.imencode(".png", picture[..., ::-1])[1].tobytes()
    replace_file(path, [memoryview(data)], verify=lambda written: None)


def _framed(colours: Picture, size: tuple[int, int]) -> Picture:
    """A map drawn where its patches' middles lie, grey where no whole patch fits."""
    h, w = colours.shape[0] * FINE, colours.shape[1] * FINE
    framed = np.full((*size, 3), 128, np.uint8)
    top, left = (size[0] - h) // 2, (size[1] - w) // 2
    large = cv2.resize(colours, (w, h), interpolation=cv2.INTER_NEAREST)
    framed[top : top + h, left : left + w] = large
    return framed


def _bytes(windows: torch.Tensor) -> torch.Tensor:
    return ((windows + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)


def _picture(window: torch.Tensor) -> Picture:
    return np.ascontiguousarray(window.permute(1, 2, 0).cpu().numpy())


def _grid(tiles: list[Picture], *, columns: int) -> Picture:
    h, w = tiles[0].shape[:2]
    rows = -(-len(tiles) // columns)
    sheet = np.full((rows * (h + GAP) - GAP, columns * (w + GAP) - GAP, 3), 255, np.uint8)
    for index, tile in enumerate(tiles):
        y, x = index // columns * (h + GAP), index % columns * (w + GAP)
        sheet[y : y + h, x : x + w] = tile
    size = (sheet.shape[1] * SCALE, sheet.shape[0] * SCALE)
    return np.asarray(cv2.resize(sheet, size, interpolation=cv2.INTER_NEAREST), np.uint8)
