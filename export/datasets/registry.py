"""Readers by the names that a user gives."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from pyad_edge.errors import SettingError
from pyad_edge.export.datasets.aptos import read_aptos
from pyad_edge.export.datasets.btad import read_btad
from pyad_edge.export.datasets.category import Category, layout_error
from pyad_edge.export.datasets.isic import read_isic
from pyad_edge.export.datasets.loco import read_loco
from pyad_edge.export.datasets.mtd import read_mtd
from pyad_edge.export.datasets.mvtec import read_mvtec
from pyad_edge.export.datasets.mvtec3d import read_mvtec3d
from pyad_edge.export.datasets.oct import read_oct
from pyad_edge.export.datasets.visa import read_visa

__all__ = ["DATASETS", "Reader", "read_dataset"]


@dataclass(frozen=True)
class Reader:
    """One data set.

    Attributes:
        title: as papers name it.
        read: its categories from a folder, by a seed, which divides what comes undivided.
        categories: how many the whole data set has.
        masks: whether it has ground truth of pixels.
    """

    title: str
    read: Callable[[Path, int], list[Category]]
    categories: int
    masks: bool = True


DATASETS: Mapping[str, Reader] = MappingProxyType(
    {
        "mvtec": Reader("MVTec AD", lambda root, seed: read_mvtec(root), 15),
        "loco": Reader("MVTec LOCO AD", lambda root, seed: read_loco(root), 5),
        "visa": Reader("VisA", lambda root, seed: read_visa(root), 12),
        "btad": Reader("BTAD", lambda root, seed: read_btad(root), 3),
        "mtd": Reader("Magnetic Tile Defects", lambda root, seed: read_mtd(root, seed=seed), 1),
        "mvtec3d-rgb": Reader("MVTec 3D-AD, RGB", lambda root, seed: read_mvtec3d(root), 10),
        "isic": Reader("ISIC 2018", lambda root, seed: read_isic(root), 1, masks=False),
        "aptos": Reader(
            "APTOS 2019", lambda root, seed: read_aptos(root, seed=seed), 1, masks=False
        ),
        "oct": Reader("OCT2017", lambda root, seed: read_oct(root), 1, masks=False),
    }
)


def read_dataset(
    name: str,
    folder: str | os.PathLike[str],
    *,
    categories: Sequence[str] | None = None,
    seed: int = 0,
) -> list[Category]:
    """Find a data set's pictures; none is opened.

    Args:
        name: key of ``DATASETS``.
        folder: that holds it.
        categories: that are wanted; None: all.
        seed: of the division of a data set that comes undivided (MTD, APTOS).

    Returns:
        The categories by name.

    Raises:
        SettingError: if there is no such data set or category.
        DataError: if the folder is not laid out as the data set is; says what was expected and
            what was found.
    """
    reader = DATASETS.get(name)
    if reader is None:
        raise SettingError(f"Expected a data set out of {', '.join(DATASETS)}, got '{name}'.")
    root = Path(folder)
    if not root.is_dir():
        raise layout_error(name, root, "", missing=root)
    found = reader.read(root, seed)
    if categories is None:
        return found
    names = [category.name for category in found]
    unknown = [wanted for wanted in categories if wanted not in names]
    if unknown:
        raise SettingError(
            f"[{name}] no category {', '.join(unknown)} in {root}; there are {', '.join(names)}."
        )
    return [category for category in found if category.name in categories]
