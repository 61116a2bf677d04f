"""Which patches count: a region of interest over the frame, and the frame's own border."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyad_edge.errors import DataError, SettingError
from pyad_edge.images import read_image

__all__ = ["as_mask", "patches_inside", "patches_seen", "read_roi"]

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
    spans = [
        _pixels(box[1], box[3] / grid[0], grid[0], mask.shape[0] / frame_size[0], mask.shape[0]),
        _pixels(box[0], box[2] / grid[1], grid[1], mask.shape[1] / frame_size[1], mask.shape[1]),
    ]
    # Sums of the mask up to each corner: a cell holds something if its four corners say so.
    sums = np.zeros((mask.shape[0] + 1, mask.shape[1] + 1), np.int64)
    np.cumsum(np.cumsum(mask > 0, axis=0, dtype=np.int64), axis=1, out=sums[1:, 1:])
    (top, bottom), (left, right) = spans
    count = (
        sums[np.ix_(bottom, right)]
        - sums[np.ix_(top, right)]
        - sums[np.ix_(bottom, left)]
        + sums[np.ix_(top, left)]
    )
    return np.asarray(count > 0)


def patches_inside(
    *, frame_size: tuple[int, int], box: tuple[float, ...], grid: tuple[int, int]
) -> NDArray[np.bool_]:
    """Patches whose centre lies in the frame, (h, w) bool; arguments as above."""
    inside = []
    for start, extent, cells, side in (
        (box[1], box[3], grid[0], frame_size[0]),
        (box[0], box[2], grid[1], frame_size[1]),
    ):
        centres = start + (np.arange(cells) + 0.5) * (extent / cells)
        inside.append((centres > 0.0) & (centres < side))
    return np.asarray(inside[0][:, np.newaxis] & inside[1][np.newaxis])


def _pixels(
    start: float, pitch: float, cells: int, scale: float, side: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The mask's pixels [first, last) that each cell touches, clipped to the mask."""
    edges = (start + np.arange(cells + 1) * pitch) * scale
    # Rounding must not make a cell touch the pixel beyond its edge.
    first = np.floor(edges[:-1] + 1e-6).clip(0, side).astype(np.int64)
    last = np.ceil(edges[1:] - 1e-6).clip(0, side).astype(np.int64)
    return first, np.maximum(first, last)
