"""``pyad-edge train refinement``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Optional

import typer
from rich.markup import escape

from pyad_edge.cli import Threads
from pyad_edge.console import err
from pyad_edge.errors import SettingError
from pyad_edge.export import train_options as given
from pyad_edge.export.memory import parse_bytes
from pyad_edge.export.methods.refinement.engine import refine_engine
from pyad_edge.export.methods.refinement.settings import RefinementSettings, make_settings
from pyad_edge.export.networks import require
from pyad_edge.export.progress import progress_bar
from pyad_edge.ops import set_num_threads

__all__ = ["train_refinement_command"]

DEFAULTS = RefinementSettings()
OPTION_NAMES = {
    "epochs": "--epochs",
    "batch": "--batch",
    "learning_rate": "--rate",
    "defects": "--defects",
    "score": "--score",
    "seed": "--seed",
    "memory_limit": "--memory-limit",
}


def train_refinement_command(
    engine: Annotated[Path, typer.Option(help="The engine to refine; it stays as it is.")],
    data: given.Data,
    out_file: given.EngineOut,
    textures: Annotated[
        Optional[Path],  # noqa: UP045 - typer reads it on Python 3.10
        typer.Option(help="Folder of pictures for synthetic defects of foreign texture, too."),
    ] = None,
    epochs: Annotated[
        int, typer.Option(help="Passes over good and synthetic pictures; the paper: 500.")
    ] = DEFAULTS.epochs,
    batch: Annotated[int, typer.Option(help="Pictures per step.")] = DEFAULTS.batch,
    rate: Annotated[float, typer.Option(help="Learning rate.")] = DEFAULTS.learning_rate,
    defects: Annotated[
        int, typer.Option(help="Synthetic defects per good picture.")
    ] = DEFAULTS.defects,
    picture: Annotated[
        bool, typer.Option("--picture", help="The network sees the picture beside the map.")
    ] = False,
    score: Annotated[
        Literal["maximum", "keep"],
        typer.Option(help="The picture's: of the refined map, or as the engine gave it."),
    ] = DEFAULTS.score,
    device: given.Device = "cpu",
    checkpoint: given.Checkpoint = None,
    resume: given.Resume = False,
    log: given.Log = None,
    calibration_data: given.CalibrationData = None,
    seed: Annotated[int, typer.Option(help="Of defects, first weights and order.")] = 0,
    memory_limit: given.MemoryLimit = None,
    threads: Threads = None,
) -> None:
    """Teach an engine's map on synthetic defects. Needs the extra \\[train]."""
    if engine.is_dir():
        raise SettingError(f"[train] --engine {engine} is a folder. Name a .pyad file in it.")
    settings = make_settings(
        option_names=OPTION_NAMES,
        epochs=epochs,
        batch=batch,
        learning_rate=rate,
        defects=defects,
        picture=picture,
        score=score,
        kinds=("structural",) if textures is None else ("structural", "texture"),
        seed=seed,
        memory_limit=parse_bytes(memory_limit) if memory_limit is not None else None,
    )
    for package in ("torch", "onnx"):
        require(package, operation="train refinement")
    if threads is not None:
        set_num_threads(threads)
        require("torch").set_num_threads(threads)
    with progress_bar() as progress:
        report = refine_engine(
            engine,
            data,
            out_file,
            settings=settings,
            textures=textures,
            calibration_data=calibration_data,
            device=device,
            threads=threads,
            checkpoint=checkpoint,
            resume=resume,
            csv=log,
            progress=progress,
        )
    err.print(
        escape(
            f"{report.path}: refined on {report.pictures:,} good pictures with synthetic defects "
            f"in {report.seconds:.1f} s, loss {report.first_loss:.4f} to {report.last_loss:.4f}, "
            f"{report.multiply_adds / 1e6:.0f} M multiply-adds a map. "
            f"{report.threshold.statement()}"
        ),
        highlight=False,
    )
