"""``pyad-edge train patchcore``."""

from __future__ import annotations

from typing import Annotated, Literal, Optional

import typer

from pyad_edge.cli import Threads
from pyad_edge.export import train_options as given
from pyad_edge.export.memory import parse_bytes
from pyad_edge.export.methods.patchcore import make_settings
from pyad_edge.export.progress import progress_bar
from pyad_edge.export.train import train_patchcore
from pyad_edge.export.train_app import print_report
from pyad_edge.ops import set_num_threads

__all__ = ["train_patchcore_command"]

OPTION_NAMES = given.BANK_OPTION_NAMES | {
    "aggregation": "--aggregation",
    "pre_dim": "--dim",
    "target_dim": "--dim",
    "index": "--index",
    "nlist": "--nlist",
    "pq_m": "--pq-m",
    "pq_nbits": "--pq-nbits",
    "nprobe": "--nprobe",
    "candidates": "--candidates",
}


def train_patchcore_command(
    data: given.Data,
    out_file: given.EngineOut,
    backbone: given.Backbones = ["edge18"],  # noqa: B006 - typer shows it and never changes it
    layers: given.Layers = None,
    mean: given.Mean = None,
    std: given.Std = None,
    size: given.Size = None,
    shorter_side: given.ShorterSide = None,
    crop: given.Crop = None,
    coreset: given.Coreset = 0.01,
    scoring: given.Scoring = "reweighted",
    aggregation: Annotated[
        Literal["official", "average"], typer.Option(help="How patches are described.")
    ] = "official",
    dim: Annotated[
        Optional[int],  # noqa: UP045 - typer reads it on Python 3.10
        typer.Option(
            help="Dimensions of the official embedding; the levels' channels, at most 1024."
        ),
    ] = None,
    index: Annotated[
        Optional[Literal["ivfpq"]],  # noqa: UP045
        typer.Option(
            help="Approximate search of a bank that is not subsampled (--coreset 1), with faiss; "
            "its errors are measured and kept in the engine. Exact search if not given."
        ),
    ] = None,
    nlist: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(help="Of --index ivfpq: inverted lists; about 4 sqrt(rows)."),
    ] = None,
    pq_m: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(
            help="Sub-quantizers of a code, a divisor of the dimensions; about a sixteenth."
        ),
    ] = None,
    pq_nbits: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(help="Bits of each, 4 to 8; 8."),
    ] = None,
    nprobe: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(help="Lists searched per patch; 16."),
    ] = None,
    candidates: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(help="Rows per patch that the exact distance re-ranks; 64."),
    ] = None,
    holdout: given.Holdout = None,
    calibration_data: given.CalibrationData = None,
    false_reject: given.TargetRate = 0.001,
    seed: given.Seed = 0,
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
    """Fit PatchCore. Needs no torch and no GPU."""
    resize, resize_name = given.resize_of(size, shorter_side)
    settings = make_settings(
        option_names=OPTION_NAMES | resize_name,
        resize=resize,
        crop=given.size_of(crop, "--crop"),
        aggregation=aggregation,
        pre_dim=dim,
        target_dim=dim,
        coreset=coreset,
        scoring=scoring,
        holdout=given.holdout_of(holdout, calibration_data),
        false_reject=false_reject,
        seed=seed,
        index=index,
        nlist=nlist,
        pq_m=pq_m,
        pq_nbits=pq_nbits,
        nprobe=nprobe,
        candidates=candidates,
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
    if threads is not None:
        set_num_threads(threads)
    with progress_bar() as progress:
        report = train_patchcore(
            data,
            out_file,
            settings=settings,
            backbone=backbone,
            layers=layers,
            mean=given.channels_of(mean, "--mean"),
            std=given.channels_of(std, "--std"),
            calibration_data=calibration_data,
            frames=frames,
            threads=threads,
            progress=progress,
        )
    print_report(report)
