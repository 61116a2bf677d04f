"""What a reader finds: good pictures to train on and labelled ones to test on, by category."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pyad_edge.errors import DataError
from pyad_edge.images import IMAGE_SUFFIXES, list_images

__all__ = [
    "GOOD",
    "Category",
    "Marking",
    "Picture",
    "folders_of",
    "layout_error",
    "masked",
    "pictures_of",
    "read_table",
    "table_picture",
]

GOOD = "good"
Marking = Literal["half", "any"]
_MAX_NAMED = 8


@dataclass(frozen=True)
class Picture:
    """A test picture.

    Attributes:
        path: of the file.
        kind: of its defect; ``good``: none.
        masks: of its ground truth, which is their union; empty: there is none.
    """

    path: Path
    kind: str
    masks: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Category:
    """One product, or a whole data set that has only one.

    Attributes:
        name: of its folder.
        train: good pictures.
        test: good and defective ones.
        marking: a mask's pixel is defect above half of 255, or where it is ``any`` other than 0.
        crop_dark: whether pictures are cut to the bright disc in them (fundus photographs).
        notes: what a user should know about it.
    """

    name: str
    train: tuple[Path, ...]
    test: tuple[Picture, ...]
    marking: Marking = "half"
    crop_dark: bool = False
    notes: tuple[str, ...] = ()


def folders_of(place: Path) -> list[Path]:
    """Folders in a folder, by name; none where it is missing."""
    if not place.is_dir():
        return []
    return sorted(p for p in place.iterdir() if p.is_dir() and not p.name.startswith("."))


def pictures_of(
    dataset: str, root: Path, folder: Path, expected: str, *, suffixes: tuple[str, ...] = ()
) -> tuple[Path, ...]:
    """Pictures of a folder that has to be there and to hold some.

    Args:
        dataset: as the user named it.
        root: of the data set.
        folder: of the pictures.
        expected: the layout, for the error.
        suffixes: kinds of files that count; none: all that can be read.

    Raises:
        DataError: if it is missing, or holds no picture.
    """
    if not folder.is_dir():
        raise layout_error(dataset, root, expected, missing=folder)
    found = [p for p in list_images(folder) if not suffixes or p.suffix.lower() in suffixes]
    if not found:
        raise layout_error(dataset, root, expected, missing=folder / "*.png")
    return tuple(found)


def masked(
    folder: Path, pictures: Iterable[Path], kind: str, *, ends: Sequence[str] = ("",)
) -> list[Picture]:
    """Pictures of a defect with the masks of their names.

    Args:
        folder: of the masks; it may be missing.
        pictures: of the defect.
        kind: of the defect.
        ends: what may follow a picture's stem in its mask's name.
    """
    masks = {path.stem: path for path in list_images(folder)} if folder.is_dir() else {}
    found = []
    for path in pictures:
        own = [masks[path.stem + end] for end in ends if path.stem + end in masks]
        found.append(Picture(path, kind, tuple(own[:1])))
    return found


def read_table(
    dataset: str, root: Path, file: Path, columns: Sequence[str], expected: str
) -> list[dict[str, str]]:
    """Rows of a CSV file.

    Raises:
        DataError: if it is missing, cannot be read, or lacks a column.
    """
    if not file.is_file():
        raise layout_error(dataset, root, expected, missing=file)
    try:
        with file.open(newline="", encoding="utf-8-sig") as text:
            reader = csv.DictReader(text)
            rows = list(reader)
            names = reader.fieldnames or ()
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"[{dataset}] {file} cannot be read as a CSV file: {error}.") from error
    lacking = [name for name in columns if name not in names]
    if lacking:
        raise DataError(
            f"[{dataset}] {file} has the columns {', '.join(names) or 'none'}, expected "
            f"{', '.join(columns)}. Take the file that comes with the data set."
        )
    return rows


def table_picture(dataset: str, folder: Path, name: str, suffix: str, table: Path) -> Path:
    """The picture that a row of a table names.

    Raises:
        DataError: if it is not there.
    """
    path = folder / f"{name}{suffix}"
    if not path.is_file():
        raise DataError(
            f"[{dataset}] {table.name} names {name}{suffix}, which is not in {folder}. Unpack all "
            "pictures of the data set."
        )
    return path


def layout_error(dataset: str, root: Path, expected: str, *, missing: Path) -> DataError:
    """The error of a folder that is not laid out as its data set is."""
    if not root.is_dir():
        return DataError(f"[{dataset}] {root} is no folder. Check the path's spelling.")
    entries = sorted(p.name + ("/" if p.is_dir() else "") for p in root.iterdir())
    named = ", ".join(entries[:_MAX_NAMED]) + (", ..." if len(entries) > _MAX_NAMED else "")
    place = missing.relative_to(root) if missing.is_relative_to(root) else missing
    readable = f" (readable are {', '.join(IMAGE_SUFFIXES)})" if "*" in place.name else ""
    return DataError(
        f"[{dataset}] expected {expected} in {root}, found {named or 'an empty folder'}; "
        f"{place} is missing{readable}. Name the folder that holds them with --data."
    )
