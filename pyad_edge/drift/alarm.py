"""What a chart says when it alarms."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["DriftAlarm"]


@dataclass(frozen=True)
class DriftAlarm:
    """A chart that has left its limits; it stays so until somebody acknowledges it.

    Attributes:
        chart: its name, see docs/drift.md.
        direction: ``up`` or ``down`` against the reference; ``any`` where the chart knows none.
        statistic: of the chart on the frame that raised it.
        limit: that the statistic passed.
        since: index of the frame from which the change probably was there.
        at: index of the frame that raised it.
        camera: of that frame.
    """

    chart: str
    direction: str
    statistic: float
    limit: float
    since: int
    at: int
    camera: str

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self)

    def sentence(self) -> str:
        """For people."""
        way = {"up": "higher", "down": "lower"}.get(self.direction, "other")
        return (
            f"[drift] {self.camera}: {self.chart} is {way} than its reference, probably since "
            f"frame {self.since} (statistic {self.statistic:.4g}, limit {self.limit:.4g}, frame "
            f"{self.at}). Verdicts and threshold are unchanged; look at the camera and its light."
        )
