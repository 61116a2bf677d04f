"""The commands of the line: run, info, doctor. The workshop's join in pyad_edge.export.cli."""

from __future__ import annotations

import sys
from importlib.metadata import version
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from pyad_edge.bench.command import bench_command
from pyad_edge.bench.words import BenchCommand
from pyad_edge.console import out, print_json, run_app
from pyad_edge.doctor import Finding, examine
from pyad_edge.drift.command import app as drift_app
from pyad_edge.engine import describe, read_engine
from pyad_edge.engine_table import engine_rows
from pyad_edge.errors import PyadError
from pyad_edge.ops import cpu_level
from pyad_edge.options import (
    EPILOG,
    EngineFile,
    FalseReject,
    FixedThreshold,
    Threads,
    open_runtime,
)
from pyad_edge.prepare import prepare_command
from pyad_edge.run_command import run
from pyad_edge.selftest.command import selftest_command
from pyad_edge.trust.command import keygen_command, sign_command, verify_command

__all__ = [
    "EPILOG",
    "EngineFile",
    "FalseReject",
    "FixedThreshold",
    "Threads",
    "app",
    "main",
    "open_runtime",
]

app = typer.Typer(
    name="pyad-edge",
    help="Visual anomaly detection for camera loops.",
    epilog=EPILOG,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        out.print(version("pyad_edge"), highlight=False)
        raise typer.Exit


@app.callback()
def common(
    context: typer.Context,
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Visual anomaly detection for camera loops."""
    if context.invoked_subcommand != "doctor":  # which reports it among the rest
        cpu_level()  # PYAD_CPU_LEVEL is refused here, not in the middle of the work


app.command("run")(run)


@app.command()
def info(
    engine: EngineFile,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Verify an engine file and say what is in it."""
    content = describe(read_engine(engine))
    if as_json:
        print_json(content)
        return
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, text in engine_rows(content):
        table.add_row(name, escape(text))
    out.print(table, highlight=False)


@app.command()
def doctor(as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False) -> None:
    """Say what this machine can run, and why something is not available."""
    findings = examine()
    if as_json:
        print_json([vars(finding) for finding in findings])
    else:
        _print_findings(findings)
    if any(finding.state == "broken" for finding in findings):
        raise typer.Exit(PyadError.exit_code)


app.command("bench", cls=BenchCommand)(bench_command)
app.command("prepare")(prepare_command)
app.command("selftest")(selftest_command)
app.add_typer(drift_app, name="drift")
app.command("keygen")(keygen_command)
app.command("sign")(sign_command)
app.command("verify")(verify_command)


def _print_findings(findings: list[Finding]) -> None:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    marks = {
        "ok": "[green]ok[/]",
        "missing": "[yellow]--[/]",
        "broken": "[red]!![/]",
    }
    for finding in findings:
        table.add_row(marks[finding.state], finding.name, escape(finding.detail))
    out.print(table, highlight=False)


def main() -> None:
    """Entry point of ``python -m pyad_edge``."""
    sys.exit(run_app(app))
