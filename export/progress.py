"""Progress bars on stderr."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from pyad_edge.console import err

__all__ = ["ProgressCall", "progress_bar", "silent"]


class ProgressCall(Protocol):
    """Told how far a stage is."""

    def __call__(self, stage: str, done: int, of: int, note: str = "") -> None:
        """Stage, steps done, steps in all, and what else to show, such as the loss."""


def silent(stage: str, done: int, of: int, note: str = "") -> None:
    """Progress that nobody watches."""


@contextmanager
def progress_bar() -> Iterator[ProgressCall]:
    """A bar per stage, drawn as stages report; where stderr is no terminal, only the end."""
    columns = (
        TextColumn("{task.description:<12}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    tasks: dict[str, TaskID] = {}
    with Progress(*columns, console=err) as bars:

        def report(stage: str, done: int, of: int, note: str = "") -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=of, note=note)
            bars.update(tasks[stage], completed=done, total=of, note=note)

        yield report
