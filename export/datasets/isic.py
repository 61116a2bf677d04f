"""ISIC 2018, task 3: naevi are normal, every other lesion is an anomaly; no masks."""

from __future__ import annotations

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

__all__ = ["read_isic"]

NORMAL = "NV"
KINDS = ("MEL", NORMAL, "BCC", "AKIEC", "BKL", "DF", "VASC")
EXPECTED = (
    "ISIC2018_Task3_(Training, Validation)_Input and ISIC2018_Task3_(Training, Validation)"
    "_GroundTruth (as downloaded) or train/NORMAL and test/(NORMAL, KIND)"
)


def read_isic(root: Path) -> list[Category]:
    """The one category ``isic``: the training set's naevi, the official validation set as test.

    Raises:
        DataError: if the folder has neither layout, or pictures are missing.
    """
    if has_normal_folders(root):
        return [read_normal_folders("isic", root, EXPECTED)]
    train = [path for path, kind in _part(root, "Training") if kind == GOOD]
    test = [Picture(path, kind) for path, kind in _part(root, "Validation")]
    return [Category("isic", tuple(train), tuple(test))]


def _part(root: Path, part: str) -> list[tuple[Path, str]]:
    name = f"ISIC2018_Task3_{part}"
    file = root / f"{name}_GroundTruth" / f"{name}_GroundTruth.csv"
    found = []
    for row in read_table("isic", root, file, ("image", *KINDS), EXPECTED):
        marked = [kind for kind in KINDS if row[kind] in ("1", "1.0")]
        if len(marked) != 1:
            raise DataError(
                f"[isic] {file.name} marks {row['image']} as {', '.join(marked) or 'nothing'}, "
                "expected one kind of lesion."
            )
        kind = GOOD if marked[0] == NORMAL else marked[0]
        path = table_picture("isic", root / f"{name}_Input", row["image"], ".jpg", file)
        found.append((path, kind))
    return found
