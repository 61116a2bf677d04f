"""The command ``pyad-edge bench``."""

from __future__ import annotations

import json
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal, Optional

import typer
from rich.markup import escape

from pyad_edge.bench.machine import load
from pyad_edge.bench.plot import check_plot, draw_plot
from pyad_edge.bench.resources import memory
from pyad_edge.bench.session import SCENARIOS, Plan, bench, load_frames
from pyad_edge.bench.table import print_report
from pyad_edge.console import err, out
from pyad_edge.disk import DISK_ERRORS
from pyad_edge.errors import DataError, ResourceError, SettingError
from pyad_edge.ops import set_num_threads
from pyad_edge.options import AllowRollback, Product, RequireSignature, signature_policy
from pyad_edge.private_files import write_private
from pyad_edge.runtime import Runtime

__all__ = ["bench_command"]


class Name(str, Enum):
    """Scenarios as typer reads them; it takes no list of Literal."""

    SINGLE = "SingleStream"
    MULTI = "MultiStream"
    OFFLINE = "Offline"


def bench_command(
    engine: Annotated[
        Path, typer.Argument(metavar="ENGINE", help="A .pyad file.", show_default=False)
    ],
    source: Annotated[
        Optional[Path],  # noqa: UP045 - typer reads it on Python 3.10
        typer.Option(help="Folder of pictures to inspect; the engine's golden frames otherwise."),
    ] = None,
    scenario: Annotated[
        Optional[list[Name]],  # noqa: UP045
        typer.Option(help="MLPerf scenario; may be given several times. All three otherwise."),
    ] = None,
    fps: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(help="Also: a camera that triggers at this rate whether or not we are ready."),
    ] = None,
    deadline: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(help="Milliseconds from trigger to verdict; one period otherwise."),
    ] = None,
    decide: Annotated[bool, typer.Option("--decide", help="Time decide mode as well.")] = False,
    seconds: Annotated[float, typer.Option(help="Of every run, at least.")] = 5.0,
    queries: Annotated[int, typer.Option(min=1, help="Of every run, at least.")] = 100,
    together: Annotated[
        int, typer.Option(min=1, max=256, help="Frames of one MultiStream query or Offline batch.")
    ] = 4,
    clock: Annotated[
        Literal["auto", "loadgen", "own"],
        typer.Option(help="auto: MLPerf's LoadGen where it is installed."),
    ] = "auto",
    backend: Annotated[str, typer.Option(help="Runs the network.")] = "onnxruntime",
    precision: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="fp32, fp16, bf16 or int8, as the backend has it."),
    ] = None,
    device: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Of the backend, such as cpu or cuda."),
    ] = None,
    threads: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(min=1, max=1024, help="Of network and kernels; all usable cores otherwise."),
    ] = None,
    json_file: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--json", help="Write all figures to this file."),
    ] = None,
    plot: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="Write a plot to this .png (needs the extra 'bench')."),
    ] = None,
    require_signature: RequireSignature = None,
    product: Product = None,
    allow_rollback: AllowRollback = False,
) -> None:
    """Measure how fast and how steady an engine is on this machine.

    The engine opens first, with all its checks; one that drifts is not timed. 'bench papers', where
    the workshop is installed, measures accuracy beside the five papers' tables.
    """
    _check(fps, deadline, seconds, json_file)
    if plot is not None:
        check_plot(plot)
    if threads is not None:
        set_num_threads(threads)
    before, busy = memory().resident, load()
    runtime = Runtime(
        engine,
        backend=backend,
        precision=precision,
        device=device,
        threads=threads,
        require_signature=signature_policy(
            require_signature, product=product, allow_rollback=allow_rollback
        ),
    )
    frames, what = load_frames(runtime, source)
    plan = Plan(
        scenarios=tuple(name for name in SCENARIOS if not scenario or Name(name) in scenario),
        clock=clock,
        seconds=seconds,
        queries=queries,
        together=together,
        fps=fps,
        deadline=deadline,
        decide=decide,
    )
    report = bench(runtime, frames, plan, resident_before=before)
    content = {"frames": what, **report.content}
    content["load"]["before"] = busy
    print_report(content, out)
    if json_file is not None:
        write_report(json_file, content)
        err.print(escape(f"wrote {json_file}"), highlight=False)
    if plot is not None:
        limit = content["camera"][0]["deadline_ms"] if content["camera"] else None
        draw_plot(plot, report.traces, title=_title(content), deadline=limit)
        err.print(escape(f"wrote {plot}"), highlight=False)


def write_report(path: Path, content: dict[str, Any]) -> None:
    """Write figures as JSON, in place of an older file that stays where this fails.

    Raises:
        DataError: if the folder is missing or may not be written.
        ResourceError: if the disk is full or fails.
    """
    text = json.dumps(content, indent=1, allow_nan=False) + "\n"
    try:
        target = path.resolve()  # of a link, such as /dev/stdout, what it names
        if target.exists() and not target.is_file():
            target.write_text(text)
        else:
            write_private(target, text.encode(), everybody_reads=True)
    except OSError as error:
        kind = ResourceError if error.errno in DISK_ERRORS else DataError
        raise kind(
            f"[bench] {path} could not be written: {error.strerror or error}. Name a file in a "
            "folder that you may write to, on a disk with some space."
        ) from error


def _check(
    fps: float | None, deadline: float | None, seconds: float, json_file: Path | None
) -> None:
    for name, value, least in (("--fps", fps, 0.0), ("--deadline", deadline, 0.0)):
        if value is not None and not least < value < 1e6:
            raise SettingError(f"[bench] expected {name} above 0 and below 1,000,000, got {value}.")
    if not 0.0 <= seconds <= 86400.0:
        raise SettingError(f"[bench] expected --seconds from 0 to 86,400, got {seconds}.")
    if deadline is not None and fps is None:
        raise SettingError("[bench] --deadline needs --fps, the rate of the camera it is for.")
    if json_file is not None and not json_file.parent.is_dir():
        raise DataError(
            f"[bench] the folder {json_file.parent} of --json does not exist. Make it first."
        )


def _title(content: dict[str, Any]) -> str:
    engine, machine, backend = content["engine"], content["machine"], content["backend"]
    return (
        f"{engine['name']}: {engine['backbone']}, bank {engine['bank'][0]:,} x "
        f"{engine['bank'][1]}, {backend['name']} {backend.get('precision', '')}\n"
        f"{machine['board'] or machine['processor']}, {machine['cores']} cores, "
        f"load {content['load']['before']}"
    )
