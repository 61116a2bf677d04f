"""``pyad-edge train fod``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal, Optional

import typer
from rich.markup import escape

from pyad_edge.cli import Threads
from pyad_edge.console import err
from pyad_edge.errors import SettingError
from pyad_edge.export import train_options as options
from pyad_edge.export.memory import parse_bytes
from pyad_edge.export.methods.fod.settings import make_settings
from pyad_edge.export.networks import require
from pyad_edge.export.progress import progress_bar
from pyad_edge.export.train_app import print_notes
from pyad_edge.ops import set_num_threads

__all__ = ["train_fod_command"]

OPTION_NAMES = {
    name: f"--{name.replace('_', '-')}"
    for name in (
        *("crop", "levels", "reference", "reference_size", "skip", "epochs", "batch", "rows"),
        *("rate", "holdout", "false_reject", "seed", "memory_limit"),
    )
}
WIDTHS = {4: 256, 8: 256, 16: 512, 32: 512}  # d_m by level; the paper's at 8 and 16


def train_fod_command(
    data: Annotated[
        list[Path],
        typer.Option(
            help="MVTec layout (train/good, test/...) or a folder of good pictures. Several times: "
            "one engine for several products."
        ),
    ],
    out_file: options.EngineOut,
    weights: Annotated[
        str,
        typer.Option(help="Of the frozen backbone: FILE.safetensors, or 'hub' to download them."),
    ],
    backbone: Annotated[
        str,
        typer.Option(help="resnet18, tf_efficientnetv2_b0, or another feature network of timm."),
    ] = "resnet18",
    size: options.Size = None,
    shorter_side: options.ShorterSide = None,
    crop: options.Crop = None,
    levels: Annotated[
        str, typer.Option(help="Of the backbone: how many times coarser than the picture.")
    ] = "8,16",
    reference: Annotated[
        Literal["mean", "nearest", "coreset", "prototypes", "codebook"],
        typer.Option(help="What patches are correlated with, of all good pictures."),
    ] = "mean",
    reference_size: Annotated[
        Optional[int],  # noqa: UP045 - typer reads it on Python 3.10
        typer.Option(help="Candidates or prototypes of a patch, or codes."),
    ] = None,
    skip: Annotated[
        Literal["paper", "code"],
        typer.Option(help="Whether a block adds its input: as eq. 1, or not, as the public code."),
    ] = "paper",
    epochs: Annotated[float, typer.Option(help="Passes over the pictures.")] = 100.0,
    batch: Annotated[int, typer.Option(help="Pictures per step.")] = 1,
    rows: Annotated[
        float,
        typer.Option(help="Share of the patches whose correlations are judged in a step: faster."),
    ] = 1.0,
    rate: Annotated[float, typer.Option(help="Learning rate.")] = 1e-4,
    schedule: Annotated[
        Literal["constant", "cosine"], typer.Option(help="Of the learning rate.")
    ] = "constant",
    score: Annotated[
        Literal["rec", "div", "rec*div"],
        typer.Option(help="Of a patch: reconstruction error, divergence, or both (eq. 12)."),
    ] = "rec*div",
    device: options.Device = "cpu",
    precision: options.Precision = "fp32",
    checkpoint: options.Checkpoint = None,
    save_every: Annotated[int, typer.Option(min=1, help="Steps between two checkpoints.")] = 500,
    resume: options.Resume = False,
    log: options.Log = None,
    tensorboard: options.Tensorboard = None,
    holdout: options.Holdout = None,
    calibration_data: options.CalibrationData = None,
    false_reject: options.TargetRate = 0.001,
    seed: Annotated[int, typer.Option(help="Of hold-out, new weights, reference and order.")] = 0,
    memory_limit: options.MemoryLimit = None,
    pixel_format: options.PixelFormat = None,
    window: options.Window = None,
    size_policy: options.SizePolicy = None,
    tile: options.Tile = None,
    overlap: options.Overlap = None,
    padding: options.Padding = None,
    mask: options.Roi = None,
    threads: Threads = None,
) -> None:
    """Train FOD: patches correlated with each other and with good ones. Needs \\[train]."""
    resize, names = options.resize_of(size, shorter_side)
    ratios = _levels(levels)
    settings = make_settings(
        option_names=OPTION_NAMES | names,
        resize=resize,
        crop=options.size_of(crop, "--crop"),
        levels=ratios,
        widths=tuple(WIDTHS.get(ratio, 256) for ratio in ratios),
        reference=reference,
        reference_size=reference_size,
        skip=skip,
        epochs=epochs,
        batch=batch,
        rows=rows,
        rate=rate,
        schedule=schedule,
        score=score,
        precision=precision,
        holdout=options.holdout_of(holdout, calibration_data),
        false_reject=false_reject,
        seed=seed,
        memory_limit=parse_bytes(memory_limit) if memory_limit is not None else None,
    )
    frames = options.frames_of(
        pixel_format=pixel_format,
        window=window,
        size_policy=size_policy,
        tile=tile,
        overlap=overlap,
        padding=padding,
        mask=mask,
    )
    for package in ("torch", "timm", "onnx"):
        require(package, operation="train fod")
    from pyad_edge.export.methods.fod.fit import CheckpointOptions
    from pyad_edge.export.methods.fod.train import train_fod

    if threads is not None:
        set_num_threads(threads)
    with progress_bar() as progress:
        report = train_fod(
            data,
            out_file,
            settings=settings,
            weights=weights if weights in ("hub", "random") else Path(weights),  # type: ignore[arg-type]
            backbone=backbone,
            device=device,
            options=CheckpointOptions(checkpoint, save_every, resume, log, tensorboard),
            calibration_data=calibration_data,
            frames=frames,
            threads=threads,
            progress=progress,
        )
    print_notes(report.notes)
    err.print(
        escape(
            f"{report.path}: {report.steps:,} steps on {report.pictures:,} pictures in "
            f"{report.seconds:.1f} s, reconstruction loss {report.loss:.4f}; scores differ from "
            f"torch's by at most {report.difference:.1e} relative. {report.threshold.statement()}"
        ),
        highlight=False,
    )


def _levels(text: str) -> tuple[int, ...]:
    if not re.fullmatch(r"\d{1,3}(,\d{1,3})*", text.replace(" ", "")):
        raise SettingError(f"Expected --levels as numbers such as 8,16, got '{text}'.")
    return tuple(int(part) for part in text.split(","))
