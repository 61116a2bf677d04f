"""Data sets on disk: what is normal, what is a test, which mask belongs to which picture."""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from pyad_edge.errors import DataError, SettingError
from pyad_edge.export.duplicates import file_sha256
from pyad_edge.frame_files import read_frame
from pyad_edge.images import IMAGE_SUFFIXES, list_images, read_image
from pyad_edge.ops import preprocess
from pyad_edge.roi import covered

__all__ = [
    "MIN_TRAIN_IMAGES",
    "Dataset",
    "Sample",
    "check_images",
    "fingerprint",
    "load_dataset",
    "read_mask",
    "read_mask_at",
    "read_truth",
    "split_holdout",
]

MIN_TRAIN_IMAGES = 4
"""Two to fit and two to calibrate; far too few for a good engine, but enough to be defined."""

_MAX_NAMED = 10


@dataclass(frozen=True)
class Sample:
    """One test picture.

    Attributes:
        path: The picture.
        defect: Name of its folder below ``test``; "good" = normal.
        mask: Its ground truth, or None where there is none (always for "good").
    """

    path: Path
    defect: str
    mask: Path | None

    @property
    def is_anomalous(self) -> bool:
        """Whether the picture shows a defect."""
        return self.defect != "good"


@dataclass(frozen=True)
class Dataset:
    """Pictures found in a folder, each list sorted by path.

    Attributes:
        root: The folder.
        layout: "mvtec" (train/good, test/<defect>, ground_truth/<defect>) or "folder" (every
            picture directly in it is a good one).
        train: Good pictures to fit on.
        test: Pictures to evaluate on; empty for layout "folder".
        notes: Sentences about what was found but not used, or expected but missing.
    """

    root: Path
    layout: Literal["mvtec", "folder"]
    train: tuple[Path, ...]
    test: tuple[Sample, ...] = ()
    notes: tuple[str, ...] = ()


def load_dataset(
    folder: str | os.PathLike[str],
    *,
    require_train: bool = True,
    require_test: bool = False,
    least: int = MIN_TRAIN_IMAGES,
) -> Dataset:
    """Find out what a folder holds; no picture is opened.

    A folder with ``train`` or ``test`` in it has the MVTec layout: ``train/good``,
    ``test/<defect>`` ("good" = normal) and ``ground_truth/<defect>/<stem>_mask.png`` or
    ``<stem>.png``. Any other folder is a plain one. Sub-folders of a plain folder are not searched,
    since one of them may well be called "bad".

    Args:
        folder: The data set.
        require_train: Refuse if there are fewer than ``least`` pictures to fit on.
        require_test: Refuse if there are no test pictures.
        least: Fewer pictures suffice where none of them is held out for calibration.

    Raises:
        DataError: The folder is missing, is a file, or lacks what is required.
    """
    root = Path(folder)
    if not root.exists():
        raise DataError(f"[load_dataset] {root} does not exist. Check the path's spelling.")
    if not root.is_dir():
        raise DataError(f"[load_dataset] {root} is a file, expected a folder of pictures.")
    is_mvtec = (root / "train").is_dir() or (root / "test").is_dir()
    data = _load_mvtec(root, need_train=require_train) if is_mvtec else _load_plain(root)
    if require_train:
        _check_count(data, least)
    if require_test and not data.test:
        raise DataError(
            f"[load_dataset] {root} holds no test pictures. Put normal ones into test/good and "
            "defective ones into test/<defect>."
        )
    return data


def split_holdout(
    paths: Sequence[Path], *, fraction: float, seed: int
) -> tuple[tuple[Path, ...], tuple[Path, ...]]:
    """Split good pictures into those to fit on and those to calibrate on.

    The pictures whose SHA-256 of "seed:name" is smallest are held out: the same pictures on every
    machine and with every NumPy, whatever folder they lie in.

    Args:
        paths: Good pictures.
        fraction: Share to hold out, in [0, 1); 0 holds out none. Rounded to the nearest count,
            but at least 2 on either side.
        seed: Another seed holds out others.

    Returns:
        (fit, calibration), both in the order of ``paths``.

    Raises:
        SettingError: The fraction is outside [0, 1).
        DataError: Too few pictures to split.
    """
    if not 0.0 <= fraction < 1.0:
        raise SettingError(f"[split_holdout] expected a fraction in [0, 1), got {fraction}.")
    if fraction == 0.0:
        return tuple(paths), ()
    if len(paths) < MIN_TRAIN_IMAGES:
        raise DataError(
            f"[split_holdout] {len(paths)} good picture(s) cannot be split: at least 2 to fit and "
            f"2 to calibrate are needed. Add pictures until there are {MIN_TRAIN_IMAGES} or more."
        )
    count = min(max(2, round(fraction * len(paths))), len(paths) - 2)
    keys = [hashlib.sha256(_bytes(f"{seed}:{path.name}")).digest() for path in paths]
    held = set(sorted(range(len(paths)), key=lambda i: (keys[i], i))[:count])
    fit = tuple(path for i, path in enumerate(paths) if i not in held)
    return fit, tuple(path for i, path in enumerate(paths) if i in held)


def fingerprint(paths: Sequence[Path]) -> str:
    """SHA-256 (hex) of a set of files: their names and contents, not their order or folders.

    Raises:
        DataError: A file cannot be read.
    """
    rows = [file_sha256(path) + _bytes(path.name) + b"\0" for path in paths]
    return hashlib.sha256(b"".join(sorted(rows))).hexdigest()


def check_images(
    paths: Sequence[Path], pixel_format: str | None = None
) -> Counter[tuple[int, int]]:
    """Decode every picture once, so that a bad one is found before the work and not during it.

    Args:
        paths: of the pictures.
        pixel_format: that they are frames of; None: 8-bit RGB.

    Returns:
        How many pictures have each size (height, width).

    Raises:
        DataError: Names all unreadable pictures at once (at most 10, then a count).
    """
    sizes: Counter[tuple[int, int]] = Counter()
    faults = []
    for path in paths:
        try:
            height, width = read_frame(path, pixel_format).shape[:2]
            sizes[height, width] += 1
        except DataError as error:
            faults.append(re.sub(r"^\[read_(image|frame)\] ", "", str(error)))
    if faults:
        named = "".join(f"\n  {fault}" for fault in faults[:_MAX_NAMED])
        more = len(faults) - _MAX_NAMED
        raise DataError(
            f"[check_images] {len(faults)} of {len(paths)} pictures cannot be used:{named}"
            + (f"\n  and {more} more." if more > 0 else "")
        )
    return sizes


def read_mask(
    path: str | Path,
    *,
    resize: int | tuple[int, int],
    crop: tuple[int, int] | None = None,
    picture_size: tuple[int, int] | None = None,
) -> npt.NDArray[np.bool_]:
    """Read a ground-truth mask at the resolution of the anomaly map.

    The mask takes the very path of its picture (``ops.preprocess``: antialiased bilinear resize,
    centre crop); ground truth is where the result, scaled to [0, 1], is > 0.5.

    Args:
        path: A picture with 0 = normal, 255 = defect.
        resize: (h, w), or the shorter side's length, as for the picture.
        crop: (ch, cw) or None, as for the picture.
        picture_size: (H, W) of the picture; if given, the mask must have it too.

    Returns:
        (h, w) bool.

    Raises:
        DataError: The mask is unreadable, of another size than its picture, or its largest value
            lies in 1..127, so that > 0.5 would silently erase it.
    """
    grey = read_truth(path, picture_size)
    planes = preprocess(grey, resize=resize, crop=crop, mean=(0.0,) * 3, std=(1.0,) * 3)
    return np.asarray(planes[0, 0] > 0.5)


def read_mask_at(
    path: str | Path,
    *,
    box: tuple[float, float, float, float],
    map_size: tuple[int, int],
    picture_size: tuple[int, int],
) -> npt.NDArray[np.bool_]:
    """Read a ground-truth mask where the map is not the resized picture (letterbox, tiles).

    Ground truth is where more than half of a map pixel's area in the picture is defect.

    Args:
        path: A picture with 0 = normal, 255 = defect.
        box: (x, y, width, height) in pixels of the picture that the map covers.
        map_size: (H, W) of the map.
        picture_size: (H, W) of the picture; the mask must have it too.

    Returns:
        (H, W) bool.

    Raises:
        DataError: As for ``read_mask``.
    """
    truth = read_truth(path, picture_size) > 127
    return np.asarray(covered(truth, box=box, grid=map_size) > 0.5)


def read_truth(path: str | Path, picture_size: tuple[int, int] | None) -> npt.NDArray[np.uint8]:
    """A mask's plane, (H, W) uint8, as the file holds it.

    Args:
        path: A picture with 0 = normal, 255 = defect.
        picture_size: (H, W) that it must have, or None.

    Raises:
        DataError: As for ``read_mask``.
    """
    grey = read_image(path)[..., 0]
    if picture_size is not None and grey.shape != tuple(picture_size):
        raise DataError(
            f"[read_mask] {path} is {grey.shape[1]}x{grey.shape[0]}, its picture "
            f"{picture_size[1]}x{picture_size[0]} pixels. Export the mask at the picture's size."
        )
    if 0 < grey.max() < 128:
        raise DataError(
            f"[read_mask] {path} has a largest value of {grey.max()}, expected 0 for normal and "
            "255 for defect. Scale the mask's values to 0 and 255."
        )
    return grey


def _load_mvtec(root: Path, *, need_train: bool) -> Dataset:
    notes: list[str] = []
    good = root / "train" / "good"
    train: tuple[Path, ...] = ()
    if good.is_dir():
        train = tuple(list_images(good))
        others = sorted(d.name for d in _subfolders(root / "train") if d.name != "good")
        if others:
            notes.append(f"train/ also holds {', '.join(others)}; only train/good is used.")
    elif need_train:
        raise DataError(
            f"[load_dataset] {root} has the MVTec layout but no train/good. "
            "Put the good pictures to fit on there."
        )
    test = []
    for folder in _subfolders(root / "test"):
        masks = _masks(root / "ground_truth" / folder.name)
        samples = []
        for path in list_images(folder):
            mask = masks.get(path.stem + "_mask", masks.get(path.stem))
            samples.append(Sample(path, folder.name, None if folder.name == "good" else mask))
        missing = [s.path.name for s in samples if s.is_anomalous and s.mask is None]
        if missing:
            notes.append(
                f"test/{folder.name}: {len(missing)} of {len(samples)} pictures have no mask "
                f"(first: {missing[0]}); they do not count in pixel figures."
            )
        test += samples
    if (root / "test").is_dir() and (loose := list_images(root / "test")):
        notes.append(
            f"test/ holds {len(loose)} pictures outside any sub-folder; they are not used."
        )
    return Dataset(root, "mvtec", train, tuple(test), tuple(notes))


def _load_plain(root: Path) -> Dataset:
    notes = []
    train = list_images(root)
    if train and (below := _picture_folders(root)):
        notes.append(f"Sub-folders are not searched: {below}.")
    return Dataset(root, "folder", tuple(train), (), tuple(notes))


def _check_count(data: Dataset, least: int) -> None:
    place = data.root if data.layout == "folder" else data.root / "train" / "good"
    if not data.train:
        raise DataError(f"[load_dataset] {place} holds no pictures{_what_is_there(place)}")
    if len(data.train) < least:
        raise DataError(
            f"[load_dataset] {place} holds {len(data.train)} picture(s), at least "
            f"{MIN_TRAIN_IMAGES} are needed: 2 to fit and 2 to calibrate. Tens to hundreds of good "
            "pictures make a useful engine."
        )


def _what_is_there(place: Path) -> str:
    """The rest of the sentence "... holds no pictures", with the way out."""
    if below := _picture_folders(place):
        return f" itself, but its sub-folders do: {below}. Name the one with the good pictures."
    files = [p for p in place.iterdir() if p.is_file() and not p.name.startswith(".")]
    if not files:
        return ": it is empty. Put good pictures into it."
    kinds = Counter(p.suffix.lower() or "no suffix" for p in files)
    listed = ", ".join(f"{n} {kind}" for kind, n in kinds.most_common(5))
    return f", only {listed}. Readable are {', '.join(IMAGE_SUFFIXES)}."


def _picture_folders(place: Path) -> str:
    counts = [(d.name, len(list_images(d, recursive=True))) for d in _subfolders(place)]
    return ", ".join(f"{name} ({count})" for name, count in counts if count)


def _subfolders(place: Path) -> list[Path]:
    if not place.is_dir():
        return []
    return sorted(d for d in place.iterdir() if d.is_dir() and not d.name.startswith("."))


def _bytes(name: str) -> bytes:
    """A file's name; on Linux it may be no valid UTF-8."""
    return name.encode("utf-8", "surrogateescape")


def _masks(folder: Path) -> dict[str, Path]:
    return {path.stem: path for path in list_images(folder)} if folder.is_dir() else {}
