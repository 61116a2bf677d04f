"""MVTec LOCO AD: structural and logical anomalies, each picture with a folder of masks."""

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
from pyad_edge.images import list_images

__all__ = ["LOGICAL", "STRUCTURAL", "read_loco"]

STRUCTURAL, LOGICAL = "structural_anomalies", "logical_anomalies"
EXPECTED = (
    f"CATEGORY/train/good, CATEGORY/test/(good, {LOGICAL}, {STRUCTURAL}) and "
    "CATEGORY/ground_truth/KIND/STEM/000.png"
)
NOTE = (
    "pixel figures take the union of a picture's masks as its defect; LOCO's own sPRO counts a "
    "region as found once a part of it is (defects_config.json), so its figures are others."
)


def read_loco(root: Path) -> list[Category]:
    """Every category; ``validation/good`` is not used, as in the papers that train without it.

    Raises:
        DataError: if there is none, or one lacks pictures.
    """
    single = (root / "test" / LOGICAL).is_dir()
    folders = [root] if single else [p for p in folders_of(root) if (p / "test").is_dir()]
    if not folders:
        raise layout_error("loco", root, EXPECTED, missing=root / "CATEGORY" / "test")
    return [_category(root, folder) for folder in folders]


def _category(root: Path, folder: Path) -> Category:
    train = pictures_of("loco", root, folder / "train" / GOOD, EXPECTED)
    test: list[Picture] = []
    for kind in (GOOD, LOGICAL, STRUCTURAL):
        for path in pictures_of("loco", root, folder / "test" / kind, EXPECTED):
            masks = folder / "ground_truth" / kind / path.stem
            own = tuple(list_images(masks)) if kind != GOOD and masks.is_dir() else ()
            test.append(Picture(path, kind, own))
    return Category(folder.resolve().name, train, tuple(test), marking="any", notes=(NOTE,))
