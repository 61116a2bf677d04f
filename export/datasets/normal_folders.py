"""Folders ``train/NORMAL``, ``test/NORMAL`` and ``test/KIND`` of pictures without masks."""

from __future__ import annotations

from pathlib import Path

from pyad_edge.export.datasets.category import (
    GOOD,
    Category,
    Picture,
    folders_of,
    layout_error,
    pictures_of,
)

__all__ = ["has_normal_folders", "read_normal_folders"]

NORMAL = "NORMAL"


def has_normal_folders(root: Path) -> bool:
    """Whether the folder has this layout."""
    return (root / "train" / NORMAL).is_dir() and (root / "test").is_dir()


def read_normal_folders(dataset: str, root: Path, expected: str) -> Category:
    """The one category of such a folder; other folders than NORMAL in ``train`` are not used.

    Raises:
        DataError: if pictures are missing.
    """
    train = pictures_of(dataset, root, root / "train" / NORMAL, expected)
    test: list[Picture] = []
    for folder in folders_of(root / "test"):
        kind = GOOD if folder.name == NORMAL else folder.name
        test += [Picture(p, kind) for p in pictures_of(dataset, root, folder, expected)]
    kinds = {picture.kind for picture in test}
    if GOOD not in kinds or len(kinds) == 1:
        missing = root / "test" / (NORMAL if GOOD not in kinds else "KIND")
        raise layout_error(dataset, root, expected, missing=missing)
    return Category(dataset, train, tuple(test))
