"""What the commands ``pyad-edge train ...`` share; ``cli.py`` adds each method's own."""

from __future__ import annotations

import typer
from rich.markup import escape

from pyad_edge.cli import EPILOG
from pyad_edge.console import err
from pyad_edge.export.train import TrainReport

__all__ = ["print_notes", "print_report", "train_app"]

train_app = typer.Typer(
    help="Fit an engine on pictures of good parts.", no_args_is_help=True, epilog=EPILOG
)


def print_report(report: TrainReport) -> None:
    """Say on stderr what a training of a memory bank made."""
    print_notes(report.notes)
    err.print(
        escape(
            f"{report.path}: {report.bank_rows:,} bank rows from {report.pictures:,} pictures in "
            f"{report.seconds:.1f} s. {report.threshold.statement()}"
        ),
        highlight=False,
    )
    if report.search is not None:
        err.print(escape(f"Search: {report.search}"), highlight=False)


def print_notes(notes: tuple[str, ...]) -> None:
    """Sentences about the data that a user should read."""
    for note in notes:
        err.print(f"[yellow]Note:[/] {escape(note)}", highlight=False)
