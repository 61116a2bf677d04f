"""The commands of the line: run, info, doctor. The workshop's join in pyad_edge.export.cli."""

from __future__ import annotations

import sys
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Literal, Optional

import typer
from rich.markup import escape
from rich.table import Table

from pyad_edge.bench.command import bench_command
from pyad_edge.console import EXIT_CODES, EXIT_FAULTS, err, out, print_json, run_app
from pyad_edge.doctor import Finding, examine
from pyad_edge.engine import describe, read_engine
from pyad_edge.errors import PyadError, SettingError
from pyad_edge.loop import inspect_stream, prepare_folder
from pyad_edge.ops import cpu_level, set_num_threads
from pyad_edge.runtime import Runtime
from pyad_edge.stream import open_source

__all__ = ["app", "main"]

EPILOG = (
    "Exit codes: " + "; ".join(f"{code}: {meaning}" for code, meaning in EXIT_CODES.items()) + "."
)

app = typer.Typer(
    name="pyad-edge",
    help="Visual anomaly detection for camera loops.",
    epilog=EPILOG,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

EngineFile = Annotated[
    Path, typer.Argument(metavar="ENGINE", help="A .pyad file.", show_default=False)
]
FalseReject = Annotated[
    Optional[float],  # noqa: UP045 - typer reads it on Python 3.10
    typer.Option(help="Target rate of rejected normal parts, instead of the engine's own."),
]
FixedThreshold = Annotated[
    Optional[float],  # noqa: UP045
    typer.Option("--threshold", help="A fixed score threshold instead."),
]
Threads = Annotated[
    Optional[int],  # noqa: UP045
    typer.Option(
        min=1, max=1024, help="Threads of network and kernels; all usable cores if not given."
    ),
]


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


@app.command()
def run(
    engine: EngineFile,
    source: Annotated[
        str,
        typer.Option(help="A folder of pictures, a picture, a video file, or a camera (camera:0)."),
    ],
    save: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="Write overlays of the frames to this folder."),
    ] = None,
    save_what: Annotated[
        Literal["all", "anomalous"], typer.Option("--save-what", help="Which frames to write.")
    ] = "all",
    false_reject: FalseReject = None,
    threshold: FixedThreshold = None,
    threads: Threads = None,
    max_frames: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(min=1, help="Stop after so many frames (cameras never end by themselves)."),
    ] = None,
) -> None:
    """Inspect a stream: one JSON line per frame on stdout, everything else on stderr.

    Each line has a verdict: OK, NG (anomalous) or FAULT (the frame could not be judged; the line
    says why). No frame is left out.
    """
    runtime = open_runtime(engine, false_reject=false_reject, threshold=threshold, threads=threads)
    if save is not None:
        prepare_folder(save)
    err.print(escape(runtime.threshold.statement()), highlight=False)
    counts = {"OK": 0, "NG": 0, "FAULT": 0}
    unsaved: list[str] = []
    with open_source(source) as frames:
        for record in inspect_stream(runtime, frames, save=save, save_what=save_what):
            counts[record["verdict"]] += 1
            if "overlay_error" in record:
                unsaved.append(record["overlay_error"])
            print_json(record, indent=None)
            if max_frames is not None and sum(counts.values()) >= max_frames:
                break
    total = sum(counts.values())
    err.print(
        f"{total} frames: {counts['OK']} OK, {counts['NG']} anomalous, {counts['FAULT']} faults."
    )
    if unsaved:
        err.print(
            f"[yellow]Note:[/] {len(unsaved)} overlays are missing; the first one: "
            f"{escape(unsaved[0])}",
            highlight=False,
        )
    if counts["FAULT"]:
        raise typer.Exit(EXIT_FAULTS)


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
    training, head, aggregation = (
        content["training"],
        content["head"],
        content["head"]["aggregation"],
    )
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    rows = {
        "engine": f"{content['path']} ({content['bytes'] / 1e6:.1f} MB, "
        f"format {content['format_version']}, verified)",
        "sha-256": content["file_sha256"],
        "method": f"{content['method']}, scoring {head['scoring']}, "
        f"aggregation {aggregation['variant']}",
        "backbone": f"{content['backbone']['name']}: {', '.join(content['backbone']['outputs'])}",
        "weights": content["backbone"]["weights_sha256"] or "not recorded",
        "input": f"{_size(content['network']['input_size'])} px, frames in "
        f"{content['preprocessing']['color_order'].upper()} order or mono, "
        f"{_size(content['network']['grid'])} patches",
        "memory bank": f"{content['bank']['rows']:,} rows x {content['bank']['dimensions']} "
        f"({training['coreset_ratio']:g} of all patches, seed {training['seed']})",
        "search": content["search"],
        "fitted on": f"{training['pictures']:,} pictures, "
        f"fingerprint {training['fingerprint'][:16]}",
        "score": content["score_meaning"],
        "threshold": content["threshold"]["statement"],
        "self-test": f"{content['golden_pictures']} golden pictures, checked at every open",
        "made with": ", ".join(
            f"{name} {version}" for name, version in content["created_with"].items()
        ),
    }
    for name, text in rows.items():
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


app.command("bench")(bench_command)


def _print_findings(findings: list[Finding]) -> None:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    marks = {
        "ok": "[green]ok[/]",
        "missing": "[yellow]--[/]",
        "unused": "[dim]--[/]",
        "broken": "[red]!![/]",
    }
    for finding in findings:
        table.add_row(marks[finding.state], finding.name, escape(finding.detail))
    out.print(table, highlight=False)


def open_runtime(
    engine: Path,
    *,
    false_reject: float | None = None,
    threshold: float | None = None,
    threads: int | None = None,
) -> Runtime:
    """Open an engine for a command; threads go to the kernels as well."""
    if false_reject is not None and threshold is not None:
        raise SettingError("Give either --false-reject or --threshold, not both.")
    if threads is not None:
        set_num_threads(threads)
    return Runtime(engine, threads=threads, false_reject=false_reject, threshold=threshold)


def _size(size: list[int]) -> str:
    return f"{size[1]} x {size[0]}"


def main() -> None:
    """Entry point of ``python -m pyad_edge``."""
    sys.exit(run_app(app))
