"""``pyad-edge train reconpatch``."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from pyad_edge.cli import Threads
from pyad_edge.export import train_options as given
from pyad_edge.export.memory import parse_bytes
from pyad_edge.export.methods.patchcore import make_settings
from pyad_edge.export.methods.reconpatch.settings import (
    ReConPatchSettings,
    make_reconpatch_settings,
)
from pyad_edge.export.networks import require
from pyad_edge.export.progress import progress_bar
from pyad_edge.export.train import train_patchcore
from pyad_edge.export.train_app import print_report
from pyad_edge.export.training.options import CheckpointOptions
from pyad_edge.ops import set_num_threads

__all__ = ["train_reconpatch_command"]

SAVE_EVERY = 100  # steps between two checkpoints
DEFAULTS = ReConPatchSettings()
OPTION_NAMES = given.BANK_OPTION_NAMES | {"aggregation": "--aggregation"}
LEARNING_NAMES = {
    "dim": "--dim",
    "epochs": "--epochs",
    "batch": "--batch",
    "rate": "--rate",
    "neighbors": "--neighbors",
    "bandwidth": "--bandwidth",
    "start": "--start",
    "margin": "--margin",
    "alpha": "--alpha",
    "momentum": "--momentum",
    "seed": "--seed",
}


def train_reconpatch_command(
    data: given.Data,
    out_file: given.EngineOut,
    backbone: given.Backbones = ["edge18"],  # noqa: B006 - typer shows it and never changes it
    layers: given.Layers = None,
    mean: given.Mean = None,
    std: given.Std = None,
    size: given.Size = None,
    shorter_side: given.ShorterSide = None,
    crop: given.Crop = None,
    dim: Annotated[
        int, typer.Option(help="Dimensions of the learned map, such as 512, 256, 128 or 64.")
    ] = DEFAULTS.dim,
    epochs: Annotated[
        float, typer.Option(help="Passes over all patches; less than 1: a part of them.")
    ] = DEFAULTS.epochs,
    batch: Annotated[int, typer.Option(help="Patches per step.")] = DEFAULTS.batch,
    rate: Annotated[float, typer.Option(help="Learning rate, at the start.")] = DEFAULTS.rate,
    start: Annotated[
        Literal["whitened", "principal", "random"],
        typer.Option(help="Before training: principal axes, half whitened or plain, or random."),
    ] = DEFAULTS.start,
    neighbors: Annotated[
        int, typer.Option(help="k of the contextual similarity.")
    ] = DEFAULTS.neighbors,
    margin: Annotated[
        float, typer.Option(help="Distance, over the mean one, up to which patches repel.")
    ] = DEFAULTS.margin,
    alpha: Annotated[
        float, typer.Option(help="Share of the pairwise similarity; the rest is contextual.")
    ] = DEFAULTS.alpha,
    momentum: Annotated[
        float, typer.Option(help="Of the averaged branch, 0 to below 1.")
    ] = DEFAULTS.momentum,
    bandwidth: Annotated[
        float,
        typer.Option(help="Of the pairwise similarity, times the batch's mean squared distance."),
    ] = DEFAULTS.bandwidth,
    aggregation: Annotated[
        Literal["official", "average"], typer.Option(help="How patches are described.")
    ] = "average",
    coreset: given.Coreset = 0.01,
    scoring: given.Scoring = "reweighted",
    device: given.Device = "cpu",
    checkpoint: given.Checkpoint = None,
    resume: given.Resume = False,
    log: given.Log = None,
    tensorboard: given.Tensorboard = None,
    holdout: given.Holdout = None,
    calibration_data: given.CalibrationData = None,
    false_reject: given.TargetRate = 0.001,
    seed: Annotated[
        int, typer.Option(help="Of hold-out, learned map, projection and coreset.")
    ] = 0,
    memory_limit: given.MemoryLimit = None,
    pixel_format: given.PixelFormat = None,
    window: given.Window = None,
    size_policy: given.SizePolicy = None,
    tile: given.Tile = None,
    overlap: given.Overlap = None,
    padding: given.Padding = None,
    mask: given.Roi = None,
    threads: Threads = None,
) -> None:
    """Learn a map of the patches, then fit PatchCore on it. Needs the extra \\[train]."""
    resize, resize_name = given.resize_of(size, shorter_side)
    learning = make_reconpatch_settings(
        option_names=LEARNING_NAMES,
        dim=dim,
        epochs=epochs,
        batch=batch,
        rate=rate,
        neighbors=neighbors,
        bandwidth=bandwidth,
        start=start,
        margin=margin,
        alpha=alpha,
        momentum=momentum,
        seed=seed,
    )
    settings = make_settings(
        option_names=OPTION_NAMES | resize_name,
        resize=resize,
        crop=given.size_of(crop, "--crop"),
        aggregation=aggregation,
        coreset=coreset,
        scoring=scoring,
        holdout=given.holdout_of(holdout, calibration_data),
        false_reject=false_reject,
        seed=seed,
        memory_limit=parse_bytes(memory_limit) if memory_limit is not None else None,
    )
    frames = given.frames_of(
        pixel_format=pixel_format,
        window=window,
        size_policy=size_policy,
        tile=tile,
        overlap=overlap,
        padding=padding,
        mask=mask,
    )
    for package in ("torch", "timm", "onnx"):
        require(package, operation="train reconpatch")
    if threads is not None:
        set_num_threads(threads)
        require("torch").set_num_threads(threads)
    with progress_bar() as progress:
        report = train_patchcore(
            data,
            out_file,
            settings=settings,
            reconpatch=learning,
            backbone=backbone,
            layers=layers,
            mean=given.channels_of(mean, "--mean"),
            std=given.channels_of(std, "--std"),
            calibration_data=calibration_data,
            frames=frames,
            device=device,
            options=CheckpointOptions(checkpoint, SAVE_EVERY, resume, log, tensorboard),
            threads=threads,
            progress=progress,
        )
    print_report(report)
