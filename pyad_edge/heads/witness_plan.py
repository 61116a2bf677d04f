"""Which bank rows are tried first for which patches: the order of the certificate (certificate.h).

On a part in a fixed position a patch resembles the training patches of its own position, and on a
texture those are as good as any others. So rows are grouped by where in their pictures they come
from, and each cell of neighbouring patches walks the groups from the nearest on. The order decides
how fast a decision is, never what it is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["WitnessPlan", "witness_plan"]

PANEL = 32  # rows of one panel, as the screen takes them
CELL = (3, 10)  # patches of a cell, at most: together they fill one tile of 32 queries
WALK = 32  # panels that a cell tries before its open patches are searched

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class WitnessPlan:
    """Cells of patches, panels of rows, and each cell's panels.

    Attributes:
        grid: (h, w) of the patches.
        strips, columns: cells of the grid; the i-th strip has the patch rows from i h // strips on.
        order: (M,) bank rows, 32 after 32 a panel.
        panels: (strips, columns, walk) panels of each cell, the nearest first.
    """

    grid: tuple[int, int]
    strips: int
    columns: int
    order: Indices
    panels: Indices


def witness_plan(
    positions: NDArray[np.integer],
    grid: tuple[int, int],
    *,
    cell: tuple[int, int] = CELL,
    walk: int = WALK,
) -> WitnessPlan:
    """Order bank rows by position, and panels by their distance from each cell.

    Args:
        positions: (M, 2) row and column of the patch that each bank row was, on ``grid``.
        grid: (h, w) of the patches.
        cell: patches of a cell, at most.
        walk: panels for each cell, at most.
    """
    h, w = grid
    strips, columns = -(-h // cell[0]), -(-w // cell[1])
    places = positions.astype(np.float64)
    order = np.concatenate(_leaves(places, np.arange(len(places))))
    starts = np.arange(0, len(order), PANEL)
    sizes = np.diff(np.append(starts, len(order)))
    y, x = places[order].T
    panels = []
    for strip in range(strips):
        rows = _outside(y, strip * h // strips, (strip + 1) * h // strips - 1)
        for column in range(columns):
            beside = _outside(x, column * w // columns, (column + 1) * w // columns - 1)
            distance = np.add.reduceat(np.maximum(rows, beside), starts) / sizes
            panels.append(np.argsort(distance, kind="stable")[:walk])
    listed = np.array(panels, np.int64).reshape(strips, columns, -1)
    return WitnessPlan(grid, strips, columns, order, listed)


def _outside(values: NDArray[np.float64], low: int, high: int) -> NDArray[np.float64]:
    """How far values lie outside of [low, high]."""
    return np.maximum(0.0, np.maximum(low - values, values - high))


def _leaves(places: NDArray[np.float64], rows: Indices) -> list[Indices]:
    """Rows in groups of neighbours: halved along the longer side, into whole panels."""
    if len(rows) <= PANEL:
        return [rows]
    own = places[rows]
    axis = int(np.ptp(own, axis=0).argmax())
    rows = rows[np.argsort(own[:, axis], kind="stable")]
    half = max(1, len(rows) // (2 * PANEL)) * PANEL
    return _leaves(places, rows[:half]) + _leaves(places, rows[half:])
