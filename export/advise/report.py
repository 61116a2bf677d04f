"""What an advice found, as tables for people and as plain data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Group
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from pyad_edge.export.advise.judge import Judged
from pyad_edge.export.advise.recommend import Advice
from pyad_edge.export.advise.settings import AdviseSettings

__all__ = ["AdviseReport", "Skipped", "render"]


@dataclass(frozen=True)
class Skipped:
    """A candidate without figures, and why."""

    name: str
    reason: str


@dataclass(frozen=True, eq=False)
class AdviseReport:
    """Everything that was found.

    Attributes:
        data: folder of the pictures.
        settings: that were asked for.
        fitted, held: good pictures that candidates were made from, and held out of all of them.
        judged: the candidates with their figures, in the order they were tried.
        skipped: those without.
        advice: the recommendation.
        backend: that ran the networks.
        machine: what it ran on; load: processes that wanted a core before and after timing.
        seconds: in all.
        notes: sentences about the data.
    """

    data: Path
    settings: AdviseSettings
    fitted: int
    held: int
    judged: tuple[Judged, ...]
    skipped: tuple[Skipped, ...]
    advice: Advice
    backend: Mapping[str, Any]
    machine: Mapping[str, Any]
    load: Mapping[str, float | None]
    seconds: float
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "data": str(self.data),
            "settings": self.settings.model_dump(mode="json"),
            "pictures": {
                "fitted": self.fitted,
                "held_out": self.held,
                "defects": self.held * self.settings.defects,
            },
            "candidates": [_row(one, self) for one in self.judged],
            "skipped": [asdict(one) for one in self.skipped],
            "recommendation": asdict(self.advice),
            "backend": dict(self.backend),
            "machine": dict(self.machine),
            "load": dict(self.load),
            "seconds": self.seconds,
            "notes": list(self.notes),
        }


def _row(one: Judged, report: AdviseReport) -> dict[str, Any]:
    scored = one.scored
    return {
        "name": one.name,
        "note": scored.candidate.note,
        "command": scored.candidate.command(report.data, report.settings),
        "image_auroc": asdict(one.auroc),
        "pixel_auroc": scored.pixel_auroc,
        "aupro": scored.aupro,
        "false_rejects": scored.false_rejects,
        "latency_ms": asdict(one.latency),
        "within_latency": one.latency.p99 <= 1e3 * report.settings.latency,
        "engine_mb": scored.megabytes,
        "fit_seconds": scored.fit_seconds,
    }


def render(report: AdviseReport) -> Group:
    """Table, recommendation and command; the table fits a terminal of 80 columns."""
    advice = report.advice
    parts: list[Any] = [_table(report), Text()]
    for one in report.skipped:
        parts.append(Text(f"Not judged: {one.name}: {one.reason}"))
    chosen = advice.candidate or "none of them"
    parts.append(Text(f"Recommended: {chosen}", style="bold"))
    parts += [Text(f"  {reason}") for reason in advice.reasons]
    if advice.command is not None:
        parts += [Text(), Text(advice.command)]
    return Group(*parts)


def _table(report: AdviseReport) -> Table:
    defects = report.held * report.settings.defects
    title = (
        f"{report.held} held-out good pictures, {defects} synthetic defects on them; made from "
        f"{report.fitted} others"
    )
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("candidate", overflow="fold")
    for heading in ("AUROC [95 %]", "false rejects", "p50 ms", "p99 ms", "MB", "fit s"):
        table.add_column(heading, justify="right", no_wrap=heading != "false rejects")
    for one in report.judged:
        mark = "* " if one.name == report.advice.candidate else "  "
        table.add_row(escape(mark + one.name), *_cells(one, report.held))
    return table


def _cells(one: Judged, held: int) -> Sequence[str]:
    auroc, scored = one.auroc, one.scored
    return (
        f"{auroc.value:.3f} [{auroc.low:.3f}, {auroc.high:.3f}]",
        f"{scored.false_rejects}/{held}",
        f"{one.latency.p50:.1f}",
        f"{one.latency.p99:.1f}",
        f"{scored.megabytes:.1f}",
        f"{scored.fit_seconds:.0f}",
    )
