"""Magnetic Tile Defects: the authors' folders, divided here, or a division in MVTec's layout."""

from __future__ import annotations

from pathlib import Path

from pyad_edge.errors import DataError
from pyad_edge.export.data import split_holdout
from pyad_edge.export.datasets.category import (
    GOOD,
    Category,
    Picture,
    folders_of,
    layout_error,
    pictures_of,
)
from pyad_edge.export.datasets.mvtec import read_category

__all__ = ["read_mtd"]

FREE = "MT_Free"
TEST_SHARE = 0.2
EXPECTED = (
    "MT_Free/Imgs, MT_Blowhole/Imgs, ... (as downloaded) or train/good, test/KIND and "
    "ground_truth/KIND"
)
NOTE = (
    "a fifth of the good tiles is drawn for the test, as in the papers; most tiles were "
    "photographed several times, so near-duplicates lie on both sides and figures come out high."
)


def read_mtd(root: Path, *, seed: int) -> list[Category]:
    """The one category ``mtd``.

    Args:
        root: of either layout.
        seed: of the original layout's division.

    Raises:
        DataError: if the folder has neither layout, or lacks pictures.
    """
    if (root / "train" / GOOD).is_dir():
        found = read_category(root)
        return [Category("mtd", found.train, found.test, notes=found.notes)]
    if not (root / FREE).is_dir():
        raise layout_error("mtd", root, EXPECTED, missing=root / FREE / "Imgs")
    return [_divided(root, seed)]


def _divided(root: Path, seed: int) -> Category:
    def photographs(folder: Path) -> tuple[Path, ...]:
        return pictures_of("mtd", root, folder / "Imgs", EXPECTED, suffixes=(".jpg", ".jpeg"))

    good = photographs(root / FREE)
    test: list[Picture] = []
    for folder in folders_of(root):
        kind = folder.name.removeprefix("MT_").lower()
        if folder.name.startswith("MT_") and folder.name != FREE:
            # A mask has its photograph's name and lies beside it, as PNG.
            own = photographs(folder)
            test += [
                Picture(path, kind, (mask,) if (mask := path.with_suffix(".png")).is_file() else ())
                for path in own
            ]
    if not test:
        raise DataError(f"[mtd] {root} has {FREE}, but no other folder MT_..., so nothing to find.")
    train, held = split_holdout(good, fraction=TEST_SHARE, seed=seed)
    return Category(
        "mtd", train, (*(Picture(path, GOOD) for path in held), *test), "any", notes=(NOTE,)
    )
