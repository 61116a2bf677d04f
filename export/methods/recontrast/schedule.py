"""What changes while ReContrast trains: the share of points that is mined, and Adam's memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

__all__ = ["ALPHA_END", "ALPHA_RISE", "ALPHA_START", "alpha_at", "forget_moments", "forgets_at"]

ALPHA_START, ALPHA_END = -3.0, 1.0
ALPHA_RISE = 0.1
"""Share of the iterations in which alpha rises."""
FORGET_EVERY = 500


def alpha_at(
    iteration: int,
    iterations: int,
    *,
    start: float = ALPHA_START,
    end: float = ALPHA_END,
    rise: float = ALPHA_RISE,
) -> float:
    """Hard mining's alpha: linear from start to end in the first iterations, then constant.

    Args:
        iteration: from 0.
        iterations: in all, at least 1.
        start, end: -3 mines next to nothing, 1 keeps about a sixth of the points.
        rise: share of the iterations in which alpha rises, in (0, 1]; the paper's is a tenth.

    Source: Guo et al. 2023, section 3.1.
    """
    return start + (end - start) * min(1.0, iteration / (rise * iterations))


def forgets_at(iteration: int, *, every: int = FORGET_EVERY) -> bool:
    """Whether Adam forgets before this iteration (from 0); ``every`` 0: never."""
    return every > 0 and iteration > 0 and iteration % every == 0


def forget_moments(optimizer: torch.optim.Optimizer) -> None:
    """Adam's two running moments and its count of steps begin again, as in appendix E."""
    optimizer.state.clear()
