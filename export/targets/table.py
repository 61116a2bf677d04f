"""An export's report for people."""

from __future__ import annotations

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


def _table(rows: dict[str, Agreement]) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("compared", no_wrap=True)
    for name in (
        "frames",
        "score: largest",
        "mean",
        "relative",
        "map: largest",
        "mean",
        "relative",
        "other verdicts",
    ):
        table.add_column(name, justify="right")
    for name, found in rows.items():
        figures = (
            found.score_max,
            found.score_mean,
            found.score_relative,
            found.map_max,
            found.map_mean,
            found.map_relative,
        )
        table.add_row(
            name, str(found.frames), *(f"{value:.1e}" for value in figures), str(len(found.flips))
        )
    return table
