"""A memory bank in every form that this machine can search it in: levels and screens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from ceilings import float_peak
from numpy.typing import NDArray

from pyad_edge import ops

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Prepared:
    """One form.

    Attributes:
        name: as the tables show it.
        ceiling: the peak that bounds it, a name of ceilings.py.
        search: queries (Q, D) to (Q, 1) distances and rows.
        candidates: of such queries, how many rows of each were evaluated canonically, (Q,); none
            where the bank does not count.
    """

    name: str
    ceiling: str
    search: Callable[[Array], tuple[Array, NDArray[np.int64]]]
    candidates: Callable[[Array], NDArray[np.int64]] | None = None


def prepared_banks(bank: Array) -> list[Prepared]:
    """The bank (M, D) in every form, the fastest level first."""
    fastest = ops.cpu_level()
    found = []
    for level in sorted(ops.available_cpu_levels(), key=lambda level: level != fastest):
        ops.set_cpu_level(level)  # a bank stays with the level that it was made at
        prepared = ops.MemoryBank(bank)
        quantized = level == "avx512vnni" and bank.shape[1] <= 1024
        ceiling = "int8.avx512vnni" if quantized else float_peak(level)
        found.append(Prepared(f"pyad_edge, {level}", ceiling, prepared.search))
    ops.set_cpu_level(fastest)
    return found
