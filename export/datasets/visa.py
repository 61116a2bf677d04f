"""VisA: the official table of its division, or the MVTec-like folders that are made from it."""

from __future__ import annotations

from pathlib import Path

from pyad_edge.errors import DataError
from pyad_edge.export.datasets.category import (
    GOOD,
    Category,
    Picture,
    layout_error,
    read_table,
)
from pyad_edge.export.datasets.mvtec import read_folders

__all__ = ["read_visa"]

TABLE = Path("split_csv") / "1cls.csv"
COLUMNS = ("object", "split", "label", "image", "mask")
BAD = "bad"
EXPECTED = (
    "split_csv/1cls.csv beside the folders of the objects (as downloaded), or 1cls/OBJECT/train/"
    "good, test/(good, bad) and ground_truth/bad (reorganised)"
)


def read_visa(root: Path) -> list[Category]:
    """Objects of the one-class division, from whichever of the two forms is there.

    Raises:
        DataError: if neither is, or files that the table names are missing.
    """
    if (root / TABLE).is_file():
        return _from_table(root)
    reorganised = next(
        (place for place in (root / "1cls", root / "visa_pytorch" / "1cls") if place.is_dir()), root
    )
    found = read_folders("visa", reorganised, EXPECTED, single=False)
    for own in found:
        if {picture.kind for picture in own.test} != {GOOD, BAD}:
            missing = reorganised / own.name / "test" / BAD
            raise layout_error("visa", reorganised, EXPECTED, missing=missing)
    return [Category(own.name, own.train, own.test, "any", notes=own.notes) for own in found]


def _from_table(root: Path) -> list[Category]:
    train: dict[str, list[Path]] = {}
    test: dict[str, list[Picture]] = {}
    for row in read_table("visa", root, root / TABLE, COLUMNS, EXPECTED):
        name, normal = row["object"], row["label"] == "normal"
        image = _file(root, row["image"])
        if row["split"] == "train":
            if not normal:
                raise DataError(f"[visa] {TABLE} trains on {row['image']}, which is not normal.")
            train.setdefault(name, []).append(image)
            continue
        masks = () if normal or not row["mask"] else (_file(root, row["mask"]),)
        test.setdefault(name, []).append(Picture(image, GOOD if normal else BAD, masks))
    lacking = sorted(set(train) ^ set(test))
    if lacking or not train:
        raise DataError(
            f"[visa] {root / TABLE} has no pictures to train or none to test on of "
            f"{', '.join(lacking) or 'any object'}. Take the file that comes with the data set."
        )
    return [
        Category(name, tuple(sorted(train[name])), tuple(test[name]), marking="any")
        for name in sorted(train)
    ]


def _file(root: Path, name: str) -> Path:
    path = root / name
    if not path.is_file():
        raise DataError(
            f"[visa] {TABLE} names {name}, which is not in {root}. Unpack the whole data set there."
        )
    return path
