"""APTOS 2019: fundus photographs of grade 0 are normal, grades 1 to 4 are anomalies; no masks."""

from __future__ import annotations

import random
from pathlib import Path

from pyad_edge.errors import DataError
from pyad_edge.export.datasets.category import (
    GOOD,
    Category,
    Picture,
    read_table,
    table_picture,
)
from pyad_edge.export.datasets.normal_folders import has_normal_folders, read_normal_folders

__all__ = ["read_aptos"]

TRAINED = 1000  # normal pictures; all others are the test
GRADES = ("0", "1", "2", "3", "4")
EXPECTED = (
    "train.csv and train_images (as downloaded) or train/NORMAL and test/(NORMAL, ABNORMAL) "
    "(prepared, cut to the fundus)"
)
NOTE = (
    "the paper draws 1,000 normal pictures without saying which; these are drawn by the seed, and "
    "cut to the fundus: the bounding square of what is brighter than the black around it."
)


def read_aptos(root: Path, *, seed: int) -> list[Category]:
    """The one category ``aptos``.

    Args:
        root: of either layout.
        seed: of the division of the layout as downloaded.

    Raises:
        DataError: if the folder has neither layout, or pictures are missing.
    """
    if has_normal_folders(root):
        return [read_normal_folders("aptos", root, EXPECTED)]
    file = root / "train.csv"
    normal: list[Path] = []
    test: list[Picture] = []
    for row in read_table("aptos", root, file, ("id_code", "diagnosis"), EXPECTED):
        grade = row["diagnosis"]
        if grade not in GRADES:
            raise DataError(f"[aptos] {file} gives {row['id_code']} the grade '{grade}', not 0-4.")
        path = table_picture("aptos", root / "train_images", row["id_code"], ".png", file)
        if grade == "0":
            normal.append(path)
        else:
            test.append(Picture(path, f"grade_{grade}"))
    if len(normal) <= TRAINED or not test:
        raise DataError(
            f"[aptos] {file} has {len(normal)} pictures of grade 0 and {len(test)} others, "
            f"expected more than {TRAINED:,} and some. Take the official training set."
        )
    random.Random(seed).shuffle(normal)
    test = [*(Picture(path, GOOD) for path in sorted(normal[TRAINED:])), *test]
    train = tuple(sorted(normal[:TRAINED]))
    return [Category("aptos", train, tuple(test), crop_dark=True, notes=(NOTE,))]
