"""Exact k-nearest-neighbour search in a memory bank, by the canonical float32 distance."""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from pyad_edge.ops._checks import whole_number
from pyad_edge.ops._native import native
from pyad_edge.ops._principal import principal_basis

__all__ = ["MemoryBank", "nearest_neighbors"]

Array = NDArray[np.float32]
ScreenName = Literal["auto", "float32", "bfloat16", "int8"]
SCREENS: tuple[str, ...] = get_args(ScreenName)
# Rows from which on contracting a bank was measured to pay.
LARGE = 1024
LARGE_FOR_INT8 = 4096
# Numbers of a row that a tile unit (AMX) multiplies faster than a contraction would save it.
CHEAP_WITH_TILES = 1024


class MemoryBank:
    """A memory bank prepared for search (it keeps its own copies of the rows).

    Searching is thread-safe, releases the GIL, and gives the same bits for every thread count,
    batch size and instruction set.

    Args:
        bank: (M, D) float32, finite, M >= 1.
        screen: how rows are excluded: "float32", "bfloat16" or "int8" products, or "auto" for the
            fastest of the CPU level in use. It never changes a result.
        contract: whether large banks are screened along their principal directions only. It never
            changes a result either.

    Raises:
        TypeError: if ``bank`` is not float32.
        ValueError: if its shape is wrong, a value is not finite, or the CPU level in use has no
            such screen.
    """

    def __init__(self, bank: Array, *, screen: ScreenName = "auto", contract: bool = True) -> None:
        bank = _matrix("bank", bank, "(M, D)")
        if screen not in SCREENS:
            raise ValueError(
                f"[nearest_neighbors] expected screen as one of {', '.join(SCREENS)}, got "
                f"{screen!r}."
            )
        choice = native.Screen.__members__[screen]
        chosen = native.chosen_screen(choice, min(bank.shape[1], 1024)).name
        large = len(bank) >= (LARGE_FOR_INT8 if chosen == "int8" else LARGE)
        if chosen == "int8" and native.cpu_level() == "avx512amx":
            large = large and bank.shape[1] > CHEAP_WITH_TILES
        few_bits = chosen != "float32"
        basis = principal_basis(bank, few_bits=few_bits) if contract and large else None
        if basis is None:
            basis = np.empty((0, 0), np.float32)
        self._native: Any = native.MemoryBank(bank, choice, basis)

    @property
    def handle(self) -> Any:
        """The native bank, for kernels that take one."""
        return self._native

    @property
    def size(self) -> int:
        """M, the number of rows."""
        return int(self._native.size)

    @property
    def dim(self) -> int:
        """D, the length of a row."""
        return int(self._native.dim)

    @property
    def screen(self) -> str:
        """The screen in use: "float32", "bfloat16" or "int8"."""
        return str(self._native.screen.name)

    @property
    def screened_dim(self) -> int:
        """Numbers per row that the screen reads: D, or fewer where the bank is contracted."""
        return int(self._native.screened_dim)

    def search(self, queries: Array, *, k: int = 1) -> tuple[Array, NDArray[np.int64]]:
        """Find the ``k`` nearest rows of each query.

        Args:
            queries: (Q, D) float32, finite.
            k: neighbours per query, 1 <= k <= M.

        Returns:
            distances: (Q, k) float32, squared Euclidean distances, ascending.
            indices: (Q, k) int64, rows of the bank; equal distances are ordered by index.

        Raises:
            TypeError: if ``queries`` is not float32 or ``k`` no whole number.
            ValueError: if a shape, ``k`` or a value does not fit.
        """
        distances, indices, _ = self._search(queries, k, count=False)
        return distances, indices

    def search_counted(
        self, queries: Array, *, k: int = 1
    ) -> tuple[Array, NDArray[np.int64], NDArray[np.int64]]:
        """As :meth:`search`, with how many rows had to be evaluated canonically.

        Args:
            queries: (Q, D) float32, finite.
            k: neighbours per query, 1 <= k <= M.

        Returns:
            distances, indices: as for :meth:`search`.
            evaluated: (Q,) int64, between k and about M.

        Raises:
            TypeError, ValueError: as for :meth:`search`.
        """
        return self._search(queries, k, count=True)

    def _search(
        self, queries: Array, k: int, *, count: bool
    ) -> tuple[Array, NDArray[np.int64], NDArray[np.int64]]:
        queries = _matrix("queries", queries, f"(Q, {self.dim})")
        if queries.shape[1] != self.dim:
            raise ValueError(
                f"[nearest_neighbors] expected queries of shape (Q, {self.dim}) to match the bank "
                f"({self.size}, {self.dim}), got {queries.shape}. Was the bank built with another "
                "backbone or embedding?"
            )
        k = whole_number("nearest_neighbors", "k", k, 1, self.size, what=" (rows of the bank)")
        distances = np.empty((len(queries), k), np.float32)
        indices = np.empty((len(queries), k), np.int64)
        evaluated = np.empty(len(queries) if count else 0, np.int64)
        self._native.search(queries, distances, indices, evaluated)
        return distances, indices, evaluated


def nearest_neighbors(
    queries: Array, bank: Array, *, k: int = 1
) -> tuple[Array, NDArray[np.int64]]:
    """Find the ``k`` nearest bank rows of each query; see :meth:`MemoryBank.search`.

    Equivalent to ``d = ((queries[:, None] - bank) ** 2).sum(-1)`` and
    ``i = d.argsort(axis=1, kind="stable")[:, :k]`` with the sum in the canonical order. Preparing
    the bank costs a few passes over it: keep a :class:`MemoryBank` for repeated searches.

    Args:
        queries: (Q, D) float32, finite.
        bank: (M, D) float32, finite.
        k: neighbours per query, 1 <= k <= M.

    Returns:
        ``(distances, indices)``: (Q, k) float32 squared distances and (Q, k) int64 rows.

    Raises:
        TypeError: if an array is not float32 or ``k`` no whole number.
        ValueError: if a shape, ``k`` or a value does not fit.
    """
    return MemoryBank(bank).search(queries, k=k)


def _matrix(name: str, values: Array, shape: str, *, op: str = "nearest_neighbors") -> Array:
    """Check a float32 matrix and make it C-contiguous."""
    if not isinstance(values, np.ndarray) or values.dtype != np.float32:
        found = getattr(values, "dtype", type(values).__name__)
        raise TypeError(
            f"[{op}] expected {name} as a float32 array, got {found}. Convert it with "
            ".astype(numpy.float32) if the loss of precision is meant."
        )
    if values.ndim != 2 or values.shape[1] == 0 or (name == "bank" and values.shape[0] == 0):
        raise ValueError(f"[{op}] expected {name} of shape {shape}, got {values.shape}.")
    values = np.ascontiguousarray(values)
    if not native.all_finite(values):
        row = int(np.flatnonzero(~np.isfinite(values).all(axis=1))[0])
        raise ValueError(
            f"[{op}] {name} contains NaN or infinity (first in row {row}). A backbone that "
            "overflows, or a broken picture, gives such features; they are never scored."
        )
    return values
