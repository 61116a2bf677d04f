"""An export's report for people."""

from __future__ import annotations

from collections.abc import Callable

from rich.markup import escape
from rich.table import Table

from pyad_edge.console import err, out
from pyad_edge.export.targets.export import ExportReport
from pyad_edge.export.targets.verify import Agreement

__all__ = ["print_report"]

_SHOWN = 20  # flips that are listed; the report has all


def print_report(report: ExportReport) -> None:
    """The differences on stdout; what else a user needs on stderr."""
    compared = {"golden frames": report.golden, "pictures": report.folder}
    rows = {name: found for name, found in compared.items() if found is not None}
    if rows:
        out.print(_table(rows), highlight=False)
    for found in rows.values():
        for flip in found.flips[:_SHOWN]:
            out.print(
                f"{escape(flip.name)}: {flip.engine} {flip.engine_score:.6g} in the engine, "
                f"{flip.export} {flip.export_score:.6g} in the export",
                highlight=False,
            )
        if len(found.flips) > _SHOWN:
            out.print(f"and {len(found.flips) - _SHOWN} more in the report", highlight=False)
        if found.resized:
            err.print(
                f"{found.resized} of {found.frames} frames had another size and were resized for "
                "both forms.",
                highlight=False,
            )
    if report.not_run is not None:
        err.print(f"[yellow]Note:[/] {escape(report.not_run)}", highlight=False)
    for note in report.notes:
        err.print(escape(note), highlight=False)
    bounds = "no other verdict" if not report.limits.flips else "other verdicts are only listed"
    borne = f" Borne: a relative difference of {report.limits.tolerance:g}, {bounds}."
    err.print(
        escape(f"{report.path} and {report.report.name}.{borne if rows else ''}"), highlight=False
    )


def _table(compared: dict[str, Agreement]) -> Table:
    """A column for each set of frames; narrow enough for any terminal."""
    table = Table(box=None, pad_edge=False)
    table.add_column("difference", no_wrap=True)
    for name in compared:
        table.add_column(name, justify="right", no_wrap=True)

    def row(name: str, figure: Callable[[Agreement], str]) -> None:
        table.add_row(name, *(figure(found) for found in compared.values()))

    row("frames", lambda found: str(found.frames))
    row("scores, largest", lambda found: f"{found.score_max:.1e}")
    row("scores, mean", lambda found: f"{found.score_mean:.1e}")
    row("scores, relative", lambda found: f"{found.score_relative:.1e}")
    row("maps, largest", lambda found: f"{found.map_max:.1e}")
    row("maps, mean", lambda found: f"{found.map_mean:.1e}")
    row("maps, relative", lambda found: f"{found.map_relative:.1e}")
    row("other verdicts", lambda found: str(len(found.flips)))
    return table
