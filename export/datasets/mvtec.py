"""MVTec AD: CATEGORY/train/good, test/KIND, ground_truth/KIND/STEM_mask.png."""

from __future__ import annotations

from pathlib import Path

from pyad_edge.export.data import load_dataset
from pyad_edge.export.datasets.category import Category, Picture, folders_of, layout_error

__all__ = ["EXPECTED", "read_folders", "read_mvtec"]

EXPECTED = "CATEGORY/train/good, CATEGORY/test/KIND and CATEGORY/ground_truth/KIND"


def read_mvtec(root: Path) -> list[Category]:
    """Every sub-folder that is a category, or the folder itself if it is one.

    Raises:
        DataError: if there is none, or one lacks pictures.
    """
    return read_folders("mvtec", root, EXPECTED)


def read_folders(dataset: str, root: Path, expected: str, *, single: bool = True) -> list[Category]:
    """Categories in MVTec's layout.

    Args:
        dataset: as the user named it.
        root: of the categories, or one of them.
        expected: the layout, for the error.
        single: whether the folder may be a category itself.

    Raises:
        DataError: if there is none, or one lacks pictures.
    """
    if single and (root / "train" / "good").is_dir():
        return [read_category(root)]
    found = [folder for folder in folders_of(root) if (folder / "train" / "good").is_dir()]
    if not found:
        raise layout_error(dataset, root, expected, missing=root / "CATEGORY" / "train" / "good")
    return [read_category(folder) for folder in found]


def read_category(folder: Path) -> Category:
    """One folder in MVTec's layout.

    Raises:
        DataError: if it lacks pictures.
    """
    found = load_dataset(folder, require_test=True)
    test = tuple(
        Picture(sample.path, sample.defect, (sample.mask,) if sample.mask is not None else ())
        for sample in found.test
    )
    return Category(folder.resolve().name, found.train, test, notes=found.notes)
