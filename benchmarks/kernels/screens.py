"""A memory bank in every form that this machine can search it in: levels and screens."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ceilings import peak
from numpy.typing import NDArray

from pyad_edge import ops

Array = NDArray[np.float32]
SCREENS = ("int8", "bfloat16", "float32")


@dataclass(frozen=True)
class Form:
    """One form.

    Attributes:
        name: as the tables show it.
        bank: what searches.
        ceiling: the peak that bounds it, a name of ceilings.py.
    """

    name: str
    bank: ops.MemoryBank
    ceiling: str

    def distances(self, queries: Array) -> Array:
        """(Q, 1) of queries (Q, D)."""
        return self.bank.search(queries)[0]


def forms_of(rows: Array) -> list[Form]:
    """The bank (M, D) with every screen of the fastest level, and as every other level takes it.

    A bank stays with the level that it was made at.
    """
    fastest = ops.cpu_level()
    found = []
    for level in sorted(ops.available_cpu_levels(), key=lambda level: level != fastest):
        ops.set_cpu_level(level)
        banks: dict[str, ops.MemoryBank] = {}
        for screen in ("auto", *SCREENS) if level == fastest else ("auto",):
            try:
                bank = ops.MemoryBank(rows, screen=screen)
            except ValueError:  # the level has no such screen
                continue
            banks.setdefault(bank.screen, bank)
        found += [
            Form(f"pyad_edge, {level}, {screen}", bank, peak(level, screen))
            for screen, bank in banks.items()
        ]
    ops.set_cpu_level(fastest)
    return found
