"""BTAD (beanTech): products 01, 02 and 03, folders ``ok`` and ``ko``."""

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

__all__ = ["read_btad"]

OK, KO = "ok", "ko"
EXPECTED = "PRODUCT/train/ok, PRODUCT/test/(ok, ko) and PRODUCT/ground_truth/ko"


def read_btad(root: Path) -> list[Category]:
    """Every product.

    Raises:
        DataError: if there is none, or one lacks pictures.
    """
    folders = [folder for folder in folders_of(root) if (folder / "train" / OK).is_dir()]
    if not folders:
        raise layout_error("btad", root, EXPECTED, missing=root / "01" / "train" / OK)
    return [_category(root, folder) for folder in folders]


def _category(root: Path, folder: Path) -> Category:
    good, bad = (pictures_of("btad", root, folder / "test" / kind, EXPECTED) for kind in (OK, KO))
    defects = masked(folder / "ground_truth" / KO, bad, KO, ends=("", "_mask"))
    return Category(
        folder.name,
        pictures_of("btad", root, folder / "train" / OK, EXPECTED),
        (*(Picture(path, GOOD) for path in good), *defects),
        marking="any",
    )
