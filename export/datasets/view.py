"""A category as a folder in MVTec's layout, which training and evaluation read.

Pictures are links to the data set's own files. Masks are links too where one file says it all;
those that come in parts, or in other values than 0 and 255, are written anew.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pyad_edge.disk import save_picture
from pyad_edge.errors import DataError
from pyad_edge.export.datasets.category import GOOD, Category, Picture
from pyad_edge.images import read_image

__all__ = ["fundus_box", "write_view"]

BLACK = 30  # sum of the three channels up to which a pixel is the black around a fundus


def write_view(
    category: Category,
    folder: Path,
    *,
    train: Iterable[Path] | None = None,
    calibration: Iterable[Path] = (),
) -> Path:
    """Write a category anew; an older view in this folder is replaced.

    Args:
        category: as its reader found it.
        folder: to write.
        train: pictures to train on instead of all of the category's.
        calibration: further good pictures, for ``folder/calibration``; none: no such folder.

    Raises:
        DataError: if two pictures of a folder have the same name, or one cannot be read.
        ResourceError: if the disk is full.
    """
    shutil.rmtree(folder, ignore_errors=True)
    chosen = category.train if train is None else tuple(train)
    for place, paths in ((folder / "train" / GOOD, chosen), (folder / "calibration", calibration)):
        for path in paths:
            _place(path, place, crop=category.crop_dark)
    for picture in category.test:
        _place(picture.path, folder / "test" / picture.kind, crop=category.crop_dark)
        if picture.masks:
            _place_mask(picture, folder / "ground_truth" / picture.kind, category)
    return folder


def _place(path: Path, folder: Path, *, crop: bool) -> None:
    target = folder / (f"{path.stem}.png" if crop else path.name)
    if target.is_symlink() or target.exists():
        raise DataError(
            f"[datasets] two pictures of {folder.parent.name}/{folder.name} are called "
            f"{path.name}; rename one."
        )
    if crop:
        picture = read_image(path)
        top, left, side = fundus_box(picture)
        save_picture(target, _square(picture, top, left, side))
        return
    folder.mkdir(parents=True, exist_ok=True)
    target.symlink_to(path.resolve())


def _place_mask(picture: Picture, folder: Path, category: Category) -> None:
    target = folder / f"{picture.path.stem}_mask.png"
    if category.marking == "half" and len(picture.masks) == 1:
        folder.mkdir(parents=True, exist_ok=True)
        source = picture.masks[0]
        target.with_suffix(source.suffix).symlink_to(source.resolve())
        return
    least = 1 if category.marking == "any" else 128
    planes = [read_image(mask)[..., 0] >= least for mask in picture.masks]
    if len({plane.shape for plane in planes}) != 1:
        raise DataError(
            f"[datasets] the masks of {picture.path} have different sizes: "
            f"{', '.join(f'{p.shape[1]}x{p.shape[0]}' for p in planes)}."
        )
    marked = np.logical_or.reduce(planes)
    save_picture(target, np.where(marked, 255, 0).astype(np.uint8))


def fundus_box(picture: NDArray[np.uint8]) -> tuple[int, int, int]:
    """Where the bright disc of a fundus photograph lies.

    Args:
        picture: (H, W, 3) uint8 on black.

    Returns:
        (top, left, side) of the square around the centre of its bounding box, as long as the longer
        side of that; it may reach beyond the picture.
    """
    bright = picture.sum(axis=-1, dtype=np.int32) > BLACK
    rows, columns = np.flatnonzero(bright.any(axis=1)), np.flatnonzero(bright.any(axis=0))
    if not rows.size:
        return 0, 0, max(picture.shape[:2])
    height, width = int(rows[-1] - rows[0]) + 1, int(columns[-1] - columns[0]) + 1
    side = max(height, width)
    return int(rows[0]) - (side - height) // 2, int(columns[0]) - (side - width) // 2, side


def _square(picture: NDArray[np.uint8], top: int, left: int, side: int) -> NDArray[np.uint8]:
    """The square, black where it reaches beyond the picture."""
    H, W = picture.shape[:2]
    out = np.zeros((side, side, 3), np.uint8)
    y0, x0, y1, x1 = max(top, 0), max(left, 0), min(top + side, H), min(left + side, W)
    out[y0 - top : y1 - top, x0 - left : x1 - left] = picture[y0:y1, x0:x1]
    return out
