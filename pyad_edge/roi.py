"""Which patches count: a region of interest over the frame, and the frame's own border."""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyad_edge.errors import DataError, SettingError
from pyad_edge.images import read_image

__all__ = ["as_mask", "covered", "patches_inside", "patches_seen", "read_roi"]

Mask = NDArray[np.uint8]


def read_roi(path: str | os.PathLike[str]) -> Mask:
    """Read a region of interest, (H, W) uint8: 0 is left out, everything else is inspected.

    Raises:
        DataError: if the picture cannot be read or leaves nothing.
    """
    picture = read_image(Path(path))
    try:
        return as_mask(picture.max(axis=2))
    except SettingError as error:
        raise DataError(f"[mask] {path}: {error}") from None


def as_mask(mask: object) -> Mask:
    """A region of interest as (H, W) uint8 of 0 and 255.

    Args:
        mask: (H, W), or (H, W, 1), bool or uint8; 0 is left out.

    Raises:
        SettingError: if it is no such array, or leaves nothing.
    """
    found: Any = mask
    expected = "[mask] expected a region of interest as a bool or uint8 array of shape (H, W), got"
    if not isinstance(found, np.ndarray):
        raise SettingError(f"{expected} {type(mask).__name__}. Give a file's path or an array.")
    plane = found[..., 0] if found.ndim == 3 and found.shape[2] == 1 else found
    if (
        plane.dtype not in (np.dtype(bool), np.dtype(np.uint8))
        or plane.ndim != 2
        or 0 in plane.shape
    ):
        raise SettingError(
            f"{expected} {found.dtype} of shape {found.shape}. Make one plane of 0 (left out) and "
            "255 (inspected)."
        )
    if not plane.any():
        raise SettingError(
            "[mask] the region of interest leaves nothing to inspect: every value is 0. Paint what "
            "is to be inspected white."
        )
    return np.asarray(np.where(plane, 255, 0), np.uint8)


def patches_seen(
    mask: Mask, *, frame_size: tuple[int, int], box: tuple[float, ...], grid: tuple[int, int]
) -> NDArray[np.bool_]:
    """Patches that have any of the mask's pixels within their cell, (h, w) bool.

    A patch on the mask's border counts: a defect there must not be lost.

    Args:
        mask: (H, W) uint8, stretched over the frame whatever its own size is.
        frame_size: (H, W) of the frame.
        box: (x, y, width, height) in pixels of the frame that the grid covers.
        grid: (h, w) patches.
    """
    rows = mask.shape[0] / frame_size[0]
    columns = mask.shape[1] / frame_size[1]
    stretched = (box[0] * columns, box[1] * rows, box[2] * columns, box[3] * rows)
    # Rounding must not make a cell touch the pixel beyond its edge.
    return np.asarray(covered(mask > 0, box=stretched, grid=grid) > 1e-6)


def covered(
    plane: NDArray[np.bool_], *, box: tuple[float, ...], grid: tuple[int, int]
) -> NDArray[np.float64]:
    """Share of each cell's area that a plane covers, (h, w) float64; beyond the plane nothing does.

    Args:
        plane: (H, W) bool.
        box: (x, y, width, height) in its pixels that the grid's cells cover.
        grid: (h, w) cells.
    """
    rows = _averages(plane, start=box[1], pitch=box[3] / grid[0], cells=grid[0])
    cells = _averages(rows.T, start=box[0], pitch=box[2] / grid[1], cells=grid[1])
    return np.ascontiguousarray(cells.T)


def _averages(
    values: NDArray[Any], *, start: float, pitch: float, cells: int
) -> NDArray[np.float64]:
    """Averages over cells of the first axis, (cells, W) float64; beyond it everything is 0.

    Between whole pixels the sum of all before is a straight line, so two of its values make a cell.
    """
    size = len(values)
    edges = np.clip(start + np.arange(cells + 1) * pitch, 0, size)
    whole = np.minimum(edges.astype(np.int64), size - 1)
    steps = [values[a:b].sum(axis=0, dtype=np.float64) for a, b in pairwise(whole)]
    before = np.cumsum([np.zeros(values.shape[1]), *steps], axis=0)
    before += (edges - whole)[:, np.newaxis] * values[whole]
    return np.asarray(np.diff(before, axis=0) / pitch)


def patches_inside(
    *, frame_size: tuple[int, int], box: tuple[float, ...], grid: tuple[int, int]
) -> NDArray[np.bool_]:
    """Patches of which at least half lies in the frame along either axis, (h, w) bool.

    Of a frame thinner than a patch, that hold at least half of it. Arguments as above.
    """
    inside = []
    for start, extent, cells, side in (
        (box[1], box[3], grid[0], frame_size[0]),
        (box[0], box[2], grid[1], frame_size[1]),
    ):
        pitch = extent / cells
        first = start + np.arange(cells) * pitch
        common = np.minimum(first + pitch, side) - np.maximum(first, 0.0)
        inside.append(common >= min(pitch, side) * (0.5 - 1e-9))
    return np.asarray(inside[0][:, np.newaxis] & inside[1][np.newaxis])
