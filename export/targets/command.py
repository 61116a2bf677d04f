"""``pyad-edge export``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal, Optional

import typer

from pyad_edge.cli import EngineFile, Threads
from pyad_edge.console import print_json
from pyad_edge.errors import SettingError
from pyad_edge.export.progress import progress_bar
from pyad_edge.ops import set_num_threads

__all__ = ["export_command"]


def export_command(
    engine: EngineFile,
    target: Annotated[
        Literal["onnx", "openvino", "tensorrt", "tensorrt-rtx", "triton"],
        typer.Option(
            "--to",
            help="onnx, openvino, triton: the whole pipeline, frame in, verdict out; tensorrt, "
            "tensorrt-rtx: plans of the network.",
        ),
    ],
    out_file: Annotated[
        Path,
        typer.Option(
            "--out", help="FILE.onnx, FILE.xml, a new folder, or the repository of Triton."
        ),
    ],
    precision: Annotated[
        Literal["fp32", "fp16", "bf16", "int8"],
        typer.Option(help="Of the network; search, head and map stay float32."),
    ] = "fp32",
    frame_size: Annotated[
        Optional[str],  # noqa: UP045 - typer reads it on Python 3.10
        typer.Option(
            metavar="H,W", help="Of the frames that will come; what the engine knows if not given."
        ),
    ] = None,
    batch: Annotated[
        str, typer.Option(metavar="N|dynamic", help="Frames that one run takes.")
    ] = "1",
    verify: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            metavar="FOLDER",
            help="Pictures that engine and export inspect beside the golden frames.",
        ),
    ] = None,
    tolerance: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(
            help="Largest relative difference of a score or map that is borne; what golden "
            "pictures may drift in the precision if not given."
        ),
    ] = None,
    calibration: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            metavar="FOLDER",
            help="Normal pictures for --precision int8, beside the engine's golden ones; at most "
            "64 are taken.",
        ),
    ] = None,
    build: Annotated[
        bool,
        typer.Option(
            "--build/--no-build",
            help="Of plans: build them, or write only the network that they are built from.",
        ),
    ] = True,
    name: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Of Triton's model; that of the engine's file if not given."),
    ] = None,
    device: Annotated[
        Literal["cpu", "cuda"], typer.Option(help="That Triton runs the model on.")
    ] = "cpu",
    max_batch: Annotated[
        int, typer.Option(help="Of --batch dynamic: frames that Triton puts together at most.")
    ] = 8,
    as_json: Annotated[
        bool, typer.Option("--json", help="The report for programs; it is written beside as well.")
    ] = False,
    threads: Threads = None,
) -> None:
    """Export an engine to another runtime, device or server, and compare both forms."""
    from pyad_edge.export.targets.export import export_engine
    from pyad_edge.export.targets.settings import make_settings
    from pyad_edge.export.targets.table import print_report

    settings = make_settings(
        target=target,
        precision=precision,
        frame_size=_size(frame_size),
        batch=_batch(batch),
        calibration=calibration,
        build=build,
        name=name,
        device=device,
        max_batch=max_batch,
    )
    if threads is not None:
        set_num_threads(threads)
    with progress_bar() as progress:
        report = export_engine(
            engine,
            out_file,
            settings=settings,
            verify=verify,
            tolerance=tolerance,
            threads=threads,
            progress=progress,
        )
    if as_json:
        print_json(report.content)
    else:
        print_report(report)


def _size(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    found = re.fullmatch(r"\s*(\d{1,5})\s*,\s*(\d{1,5})\s*", text)
    if found is None:
        raise SettingError(
            f"[export] expected --frame-size as H,W in pixels, such as 480,640, got '{text}'."
        )
    return int(found[1]), int(found[2])


def _batch(text: str) -> int | None:
    if text == "dynamic":
        return None
    if not re.fullmatch(r"\d{1,5}", text):
        raise SettingError(f"[export] expected --batch as a number or 'dynamic', got '{text}'.")
    return int(text)
