"""MVTec 3D-AD, its colour pictures only: ``rgb`` and ``gt`` in every folder of a kind."""

from __future__ import annotations

from pathlib import Path

from pyad_edge.export.datasets.category import (
    GOOD,
    Category,
    Picture,
    folders_of,
    layout_error,
    masked,
    pictures_of,
)

__all__ = ["read_mvtec3d"]

NAME = "mvtec3d-rgb"
EXPECTED = "CATEGORY/train/good/rgb, CATEGORY/test/KIND/rgb and CATEGORY/test/KIND/gt"


def read_mvtec3d(root: Path) -> list[Category]:
    """Every category; ``validation`` and the depth pictures ``xyz`` are not used.

    Raises:
        DataError: if there is none, or one lacks pictures.
    """
    folders = [p for p in folders_of(root) if (p / "train" / GOOD / "rgb").is_dir()]
    if not folders:
        missing = root / "CATEGORY" / "train" / GOOD / "rgb"
        raise layout_error(NAME, root, EXPECTED, missing=missing)
    return [_category(root, folder) for folder in folders]


def _category(root: Path, folder: Path) -> Category:
    kinds = folders_of(folder / "test")
    if GOOD not in {kind.name for kind in kinds}:
        raise layout_error(NAME, root, EXPECTED, missing=folder / "test" / GOOD / "rgb")
    test: list[Picture] = []
    for kind in kinds:
        own = pictures_of(NAME, root, kind / "rgb", EXPECTED)
        if kind.name == GOOD:
            test += [Picture(path, GOOD) for path in own]
        else:
            test += masked(kind / "gt", own, kind.name)
    return Category(
        folder.name,
        pictures_of(NAME, root, folder / "train" / GOOD / "rgb", EXPECTED),
        tuple(test),
        marking="any",
    )
