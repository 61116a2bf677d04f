"""The decision of the full search at a fraction of its work: certify patches, search the rest.

A picture's score never exceeds that of its most distant patch, so a patch with *any* bank row
within the limit cannot make it exceed the limit. ``docs/decide.md`` has the proof,
``csrc/include/pyad/decide.h`` the algorithm.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pyad_edge.heads.memory_bank import MemoryBankHead, native_arguments
from pyad_edge.heads.witness_plan import witness_plan
from pyad_edge.ops import MemoryBank
from pyad_edge.ops._native import native
from pyad_edge.result import Verdict

__all__ = ["Certifier", "PatchDecision", "largest_within"]

Array = NDArray[np.float32]
Valid = NDArray[np.uint8]

# Beyond it the score is computed and compared: no sum of squares may come near float32's end.
LARGEST_BAR = np.float32(1e30)


@dataclass(frozen=True)
class PatchDecision:
    """What is known of one picture.

    Attributes:
        verdict: of the picture, the one that its full score would give.
        searched: patches that went through the full search.
        patches: of the picture.
        score: where it had to be computed or was asked for; with the bits of the full search.
    """

    verdict: Verdict
    searched: int
    patches: int
    score: float | None

    @property
    def settled(self) -> Literal["early", "search"]:
        """``early`` where no patch was searched, else ``search``."""
        return "search" if self.searched else "early"


class Certifier:
    """Decides single pictures. Thread-safe; keeps nothing between pictures.

    It serves an exact head. With an approximate one, or for features of another grid, every patch
    is searched: the verdict is the head's, and nothing is saved.

    Args:
        head: whose verdicts it gives.
        positions: (M, 2) row and column of the patch that each bank row was: the last two columns
            of ``bank/sources``. None: every patch is searched.
        grid: (h, w) of the patches.
    """

    def __init__(
        self, head: MemoryBankHead, positions: NDArray[np.integer] | None, grid: tuple[int, int]
    ) -> None:
        self.head = head
        self.grid = grid
        self._squared = head.settings.scoring == "maximum"
        self._certificate: Any = None
        bank = head.search
        if isinstance(bank, MemoryBank) and positions is not None:
            plan = witness_plan(positions, grid)
            self._certificate = native.Certificate(
                bank.handle,
                *plan.grid,
                plan.strips,
                plan.columns,
                plan.order.tolist(),
                plan.panels.ravel().tolist(),
            )
        self._deciders: dict[int, Any] = {}  # by the native head
        self._bars: dict[float, np.float32] = {}

    def decide(
        self,
        features: Sequence[Array],
        *,
        limit: float,
        review: float | None = None,
        score: bool = False,
        valid: Valid | None = None,
    ) -> PatchDecision:
        """Compare the score of one picture with a limit.

        Args:
            features: backbone levels, each (1, C, h, w) float32, the finest first.
            limit: NG above it.
            review: REVIEW above it, up to ``limit``.
            score: whether the score itself is wanted.
            valid: (1, h, w) uint8, 0 where a patch does not count; none: all count.

        Raises:
            ValueError: as :meth:`MemoryBankHead.score`, for patches that are searched.
        """
        prepared = self.head.prepared(features) if self._certificate is not None else None
        if prepared is None or features[0].shape[0] != 1 or features[0].shape[2:] != self.grid:
            return self._searched(features, limit, review, valid)
        native_head, rows, columns = prepared
        decider = self._deciders.get(id(native_head))
        if decider is None:
            decider = native.Decider(native_head, self._certificate)
            self._deciders[id(native_head)] = decider  # keeps native_head alive
        bar = self._bar(limit if review is None else min(limit, review))
        levels, counts = native_arguments(features, valid)
        status, searched, scored, value, _ = decider.decide(
            levels, rows, columns, counts, bar, score
        )
        if status != native.HeadStatus.ok:
            self.head.score(features, valid=valid)  # finds the same and says where
            raise ValueError(f"[decide] the search failed ({status.name}).")
        patches = self.grid[0] * self.grid[1]
        if not scored:
            return PatchDecision(Verdict.OK, searched, patches, None)
        return PatchDecision(Verdict.of(value, limit, review), searched, patches, value)

    def _searched(
        self,
        features: Sequence[Array],
        limit: float,
        review: float | None,
        valid: Valid | None,
    ) -> PatchDecision:
        found = self.head.score(features, valid=valid)
        if len(found.image) != 1:
            raise ValueError(f"[decide] expected one picture, got {len(found.image)}.")
        value = float(found.image[0])
        return PatchDecision(
            Verdict.of(value, limit, review), found.rows.size, found.rows.size, value
        )

    def _bar(self, limit: float) -> np.float32:
        bar = self._bars.get(limit)
        if bar is None:
            bar = min(largest_within(limit, squared=self._squared), LARGEST_BAR)
            if len(self._bars) >= 64:  # limits that change all the time
                self._bars.clear()
            self._bars[limit] = bar
        return bar


def largest_within(limit: float, *, squared: bool) -> np.float32:
    """The largest float32 squared distance whose patch score is not above ``limit``.

    Args:
        limit: compared as a float64 with the float32 score.
        squared: whether the patch score is the squared distance, or else its rounded root.

    Returns:
        It, or -1 where even 0 is above the limit.
    """
    low, high = -1, int(np.array(np.inf, np.float32).view(np.uint32)) - 1
    # Halving over bits, which ascend with the value.
    while low < high:
        middle = (low + high + 1) // 2
        value = _float_of(middle)
        if float(value if squared else np.sqrt(value)) <= limit:
            low = middle
        else:
            high = middle - 1
    return np.float32(-1) if low < 0 else _float_of(low)


def _float_of(bits: int) -> np.float32:
    value: np.float32 = np.array([bits], np.uint32).view(np.float32)[0]
    return value
