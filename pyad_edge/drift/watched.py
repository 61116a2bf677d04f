"""What a monitor reads of a runtime."""

from __future__ import annotations

from typing import Any, Protocol

from pyad_edge.calibration import Threshold
from pyad_edge.engine import Engine

__all__ = ["Watched"]


class Watched(Protocol):
    """An open ``Runtime``, or what stands for one.

    Attributes:
        engine: with its calibration scores.
    """

    engine: Engine

    @property
    def threshold(self) -> Threshold:
        """Above which scores are NG."""
        ...

    @property
    def info(self) -> dict[str, Any]:
        """What runs where; the pixel format is read."""
        ...
