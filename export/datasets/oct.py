"""OCT2017: NORMAL against CNV, DME and DRUSEN; no masks."""

from __future__ import annotations

from pathlib import Path

from pyad_edge.export.datasets.category import Category, layout_error
from pyad_edge.export.datasets.normal_folders import has_normal_folders, read_normal_folders

__all__ = ["read_oct"]

EXPECTED = "train/NORMAL and test/(NORMAL, CNV, DME, DRUSEN)"


def read_oct(root: Path) -> list[Category]:
    """The one category ``oct``.

    Raises:
        DataError: if the folder is laid out otherwise, or pictures are missing.
    """
    if not has_normal_folders(root):
        raise layout_error("oct", root, EXPECTED, missing=root / "train" / "NORMAL")
    return [read_normal_folders("oct", root, EXPECTED)]
