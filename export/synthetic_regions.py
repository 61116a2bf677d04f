"""Irregular regions for synthetic defects: blobs and streaks of a given area."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["random_region", "smooth_noise"]

Field = NDArray[np.float32]  # (H, W)


def smooth_noise(
    shape: tuple[int, int], rng: np.random.Generator, *, cells: int, octaves: int = 3
) -> Field:
    """Perlin-like noise: random grids, each twice as fine and half as strong as the last.

    Args:
        shape: (H, W).
        rng: source of randomness.
        cells: of the coarsest grid along the shorter side.
        octaves: how many grids are added.

    Returns:
        (H, W) float32 of unit variance.
    """
    H, W = shape
    total = np.zeros(shape, np.float32)
    for octave in range(octaves):
        size = cells * 2**octave / min(H, W)
        grid = (max(2, round(H * size)), max(2, round(W * size)))
        values = rng.standard_normal(grid, dtype=np.float32)
        total += cv2.resize(values, (W, H), interpolation=cv2.INTER_CUBIC) * np.float32(0.5**octave)
    return np.asarray(total / np.float32(total.std() + 1e-6), np.float32)


def random_region(
    shape: tuple[int, int], rng: np.random.Generator, *, area: float, streak: bool
) -> NDArray[np.bool_]:
    """A region of the given area somewhere in a picture, cut by the picture's border at most.

    A field that falls with the distance from a place (a point, or a bent line) is shaken by
    Perlin-like noise; the region is where it is largest.

    Args:
        shape: (H, W).
        rng: source of randomness.
        area: share of the picture, in (0, 0.5]; at least 6 pixels are covered.
        streak: thin and long instead of compact.

    Returns:
        (H, W) bool.
    """
    H, W = shape
    pixels = int(np.clip(round(area * H * W), 6, H * W // 2))
    if streak:
        length = float(np.sqrt(pixels * rng.uniform(8.0, 30.0)))
        distance = _from_line(shape, rng, length=length)
        unit = pixels / length
        rough = 0.35
    else:
        distance = _from_point(shape, rng)
        unit = float(np.sqrt(pixels / np.pi))
        rough = float(rng.uniform(0.15, 0.5))
    cells = max(2, round(min(H, W) / (3.0 * unit + 3.0)))
    field = rough * smooth_noise(shape, rng, cells=min(cells, 48)) - distance / np.float32(unit)
    level = np.partition(field.ravel(), field.size - pixels)[field.size - pixels]
    return np.asarray(field >= level)


def _from_point(shape: tuple[int, int], rng: np.random.Generator) -> Field:
    """Distance from a random point, in a frame stretched along a random direction."""
    H, W = shape
    y, x = rng.uniform(0, H), rng.uniform(0, W)
    turn, stretch = rng.uniform(0, np.pi), rng.uniform(1.0, 2.0)
    rows = np.arange(H, dtype=np.float32)[:, None] - np.float32(y)
    columns = np.arange(W, dtype=np.float32)[None, :] - np.float32(x)
    along = np.float32(np.cos(turn)) * columns + np.float32(np.sin(turn)) * rows
    across = np.float32(np.cos(turn)) * rows - np.float32(np.sin(turn)) * columns
    return np.asarray(
        np.hypot(along / np.float32(stretch), across * np.float32(stretch)), np.float32
    )


def _from_line(shape: tuple[int, int], rng: np.random.Generator, *, length: float) -> Field:
    """Distance from a bent line of that length through a random point."""
    H, W = shape
    steps = 24
    heading = rng.uniform(0, 2 * np.pi) + rng.uniform(-1.2, 1.2) * np.linspace(-0.5, 0.5, steps)
    heading += 0.12 * rng.standard_normal(steps).cumsum()
    path = np.cumsum(np.stack([np.cos(heading), np.sin(heading)], 1), 0) * (length / steps)
    middle = np.array([rng.uniform(0.1 * W, 0.9 * W), rng.uniform(0.1 * H, 0.9 * H)])
    path += middle - path[steps // 2]
    away = np.full((H, W), 255, np.uint8)
    cv2.polylines(away, [np.rint(path).astype(np.int32)], False, 0, 1)
    if away.all():  # a line shorter than a pixel
        away[min(int(middle[1]), H - 1), min(int(middle[0]), W - 1)] = 0
    return np.asarray(cv2.distanceTransform(away, cv2.DIST_L2, 5), np.float32)
