"""``pyad-edge train recontrast``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Optional

import typer
from rich.markup import escape

from pyad_edge.cli import Threads
from pyad_edge.console import err
from pyad_edge.export import train_options as options
from pyad_edge.export.memory import parse_bytes
from pyad_edge.export.methods.recontrast.schedule import ALPHA_RISE
from pyad_edge.export.methods.recontrast.settings import make_settings
from pyad_edge.export.networks import require
from pyad_edge.export.progress import progress_bar
from pyad_edge.export.train_app import print_notes
from pyad_edge.ops import set_num_threads

__all__ = ["train_recontrast_command"]

ONE_PRODUCT, SEVERAL_PRODUCTS = 2000, 5000
OPTION_NAMES = {
    "crop": "--crop",
    "iterations": "--iterations",
    "batch": "--batch",
    "encoder_rate": "--encoder-rate",
    "decoder_rate": "--decoder-rate",
    "alpha_rise": "--alpha-rise",
    "batch_norm": "--batch-norm",
    "holdout": "--holdout",
    "false_reject": "--false-reject",
    "seed": "--seed",
    "memory_limit": "--memory-limit",
}


def train_recontrast_command(
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
        typer.Option(
            help="Of the encoder to start from: FILE.safetensors, or 'hub' to download them."
        ),
    ],
    backbone: Annotated[
        str, typer.Option(help="resnet18, resnet50, wide_resnet50_2, or another ResNet of timm.")
    ] = "resnet18",
    size: options.Size = None,
    shorter_side: options.ShorterSide = None,
    crop: options.Crop = None,
    iterations: Annotated[
        Optional[int],  # noqa: UP045 - typer reads it on Python 3.10
        typer.Option(help="Training steps; 2000 for one product, 5000 for several."),
    ] = None,
    batch: Annotated[int, typer.Option(help="Pictures per step.")] = 16,
    encoder_rate: Annotated[float, typer.Option(help="Learning rate of the encoder.")] = 1e-5,
    decoder_rate: Annotated[float, typer.Option(help="Learning rate of all that is new.")] = 2e-3,
    alpha_rise: Annotated[
        float,
        typer.Option(
            help="Share of the steps in which the mining of hard points sets in. The paper's 0.1 "
            "is 200 steps: take more with fewer --iterations."
        ),
    ] = ALPHA_RISE,
    batch_norm: Annotated[
        Literal["stable", "train", "eval"],
        typer.Option(help="Of the encoder while training; stable: the paper's appendix E."),
    ] = "stable",
    pairs: Annotated[
        Literal["both", "trained"],
        typer.Option(help="Maps of both encoders, or of the trained one alone: a lighter engine."),
    ] = "both",
    score: Annotated[
        Literal["maximum", "mean"],
        typer.Option(help="Of the map; mean where whole pictures deviate rather than places."),
    ] = "maximum",
    device: options.Device = "cpu",
    precision: options.Precision = "fp32",
    checkpoint: options.Checkpoint = None,
    save_every: Annotated[int, typer.Option(min=1, help="Steps between two checkpoints.")] = 100,
    resume: options.Resume = False,
    log: options.Log = None,
    tensorboard: options.Tensorboard = None,
    holdout: options.Holdout = None,
    calibration_data: options.CalibrationData = None,
    false_reject: options.TargetRate = 0.001,
    seed: Annotated[int, typer.Option(help="Of hold-out, new weights and order.")] = 0,
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
    """Train ReContrast: encoder and decoder on your pictures. Needs the extra \\[train]."""
    resize, names = options.resize_of(size, shorter_side)
    usual = ONE_PRODUCT if len(data) == 1 else SEVERAL_PRODUCTS
    settings = make_settings(
        option_names=OPTION_NAMES | names,
        resize=resize,
        crop=options.size_of(crop, "--crop"),
        iterations=usual if iterations is None else iterations,
        batch=batch,
        encoder_rate=encoder_rate,
        decoder_rate=decoder_rate,
        alpha_rise=alpha_rise,
        batch_norm=batch_norm,
        pairs=pairs,
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
        require(package, operation="train recontrast")
    from pyad_edge.export.methods.recontrast.fit import CheckpointOptions
    from pyad_edge.export.methods.recontrast.train import train_recontrast

    if threads is not None:
        set_num_threads(threads)
    with progress_bar() as progress:
        report = train_recontrast(
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
            f"{report.path}: {report.iterations:,} steps on {report.pictures:,} pictures in "
            f"{report.seconds:.1f} s, loss {report.loss:.4f}; {report.gigamacs:.2f} GMAC a picture;"
            f" scores differ from torch's by at most {report.difference:.1e} relative. "
            f"{report.threshold.statement()}"
        ),
        highlight=False,
    )
