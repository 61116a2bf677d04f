"""``pyad-edge advise``."""

from __future__ import annotations

from typing import Annotated, Optional

import typer
from rich.markup import escape

from pyad_edge.cli import Threads
from pyad_edge.console import err, out, print_json
from pyad_edge.export import train_options as options
from pyad_edge.export.advise.advise import advise
from pyad_edge.export.advise.report import render
from pyad_edge.export.advise.settings import TRAINED, make_settings, methods_of, seconds_of
from pyad_edge.export.progress import progress_bar
from pyad_edge.ops import set_num_threads
from pyad_edge.options import BackendName, Device, Precision

__all__ = ["advise_command"]

# ruff: noqa: UP045, B006 - typer reads Optional on Python 3.10 and never changes a default


def advise_command(
    data: options.Data,
    latency: Annotated[
        str,
        typer.Option(
            metavar="TIME",
            help="From a frame in memory to its verdict, that 99 of 100 frames must meet, such as "
            "20ms.",
        ),
    ],
    time: Annotated[
        str,
        typer.Option(metavar="TIME", help="After which no further candidate is begun: 90s, 10m."),
    ] = "10m",
    backbone: Annotated[
        list[str],
        typer.Option(
            help="edge18 (built in) or FILE.onnx from 'pyad-edge backbone export'; several times "
            "to compare them."
        ),
    ] = ["edge18"],
    size: Annotated[
        list[int],
        typer.Option(
            help="Side of the network's input; several times, the first for every method."
        ),
    ] = [256, 192],
    include: Annotated[
        Optional[str],
        typer.Option(
            metavar="METHODS",
            help=f"Methods that train a network (needs \\[train]): some of {','.join(TRAINED)}.",
        ),
    ] = None,
    weights: Annotated[
        Optional[str],
        typer.Option(
            help="Of the ResNet-18 that recontrast and fod start from: FILE.safetensors, or 'hub'."
        ),
    ] = None,
    false_reject: options.TargetRate = 0.001,
    seed: Annotated[int, typer.Option(help="Of divisions, defects and fits.")] = 0,
    backend: BackendName = "onnxruntime",
    precision: Precision = None,
    device: Device = None,
    threads: Threads = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Try several methods on your good pictures, time them here, and recommend one.

    They are judged on good pictures that they were not fitted on, and on synthetic defects.
    """
    settings = make_settings(
        latency=seconds_of(latency, "--latency"),
        time=seconds_of(time, "--time"),
        sizes=tuple(size),
        backbones=tuple(backbone),
        include=methods_of(include),
        weights=weights,
        false_reject=false_reject,
        seed=seed,
    )
    if threads is not None:
        set_num_threads(threads)
    with progress_bar() as progress:
        report = advise(
            data,
            settings,
            backend=backend,
            precision=precision,
            device=device,
            threads=threads,
            progress=progress,
        )
    if as_json:
        print_json(report.to_dict())
        return
    out.print(render(report), highlight=False)
    for note in report.notes:
        err.print(f"[yellow]Note:[/] {escape(note)}", highlight=False)
