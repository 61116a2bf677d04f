"""``pyad-edge train grad``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Optional

import typer
from rich.markup import escape

from pyad_edge.cli import Threads
from pyad_edge.console import err
from pyad_edge.errors import SettingError
from pyad_edge.export import train_options as options
from pyad_edge.export.memory import parse_bytes
from pyad_edge.export.methods.grad.settings import LEVELS, budget_form, make_settings
from pyad_edge.export.networks import require
from pyad_edge.export.progress import progress_bar
from pyad_edge.export.train_app import print_notes
from pyad_edge.ops import set_num_threads

__all__ = ["levels_of", "train_grad_command"]

# ruff: noqa: UP045 - typer reads Optional on Python 3.10
OPTION_NAMES = {
    "crop": "--crop",
    "levels": "--levels",
    "diffusion_steps": "--diffusion-steps",
    "samples": "--samples",
    "detector_steps": "--detector-steps",
    "sampling_steps": "--sampling-steps",
    "patches": "--patches",
    "neighbours": "--neighbours",
    "beta": "--beta",
    "queue": "--queue",
    "rate": "--rate",
    "diffusion_rate": "--diffusion-rate",
    "alike": "--alike",
    "inside": "--inside",
    "exchanged": "--exchanged",
    "alpha_features": "--alpha-features",
    "alpha_gradient": "--alpha-gradient",
    "holdout": "--holdout",
    "false_reject": "--false-reject",
    "seed": "--seed",
    "memory_limit": "--memory-limit",
}


def train_grad_command(
    data: Annotated[
        list[Path],
        typer.Option(
            help="MVTec layout (train/good, test/...) or a folder of good pictures. Several times: "
            "one engine for several products."
        ),
    ],
    out_file: options.EngineOut,
    budget: Annotated[
        Literal["5m", "30m", "full"],
        typer.Option(
            help="Time on this machine that numbers of steps are chosen for; full: the paper's "
            "numbers, for a GPU."
        ),
    ] = "30m",
    levels: Annotated[
        str, typer.Option(help="Pixels that detectors look at: some of 34,68,136.")
    ] = "34,68,136",
    preset: Annotated[
        Literal["accurate", "compact"], typer.Option(help="Widths of the detectors.")
    ] = "accurate",
    fusion: Annotated[
        Literal["maximum", "mean"], typer.Option(help="Of the levels' maps, at every place.")
    ] = "maximum",
    size: options.Size = None,
    shorter_side: options.ShorterSide = None,
    crop: options.Crop = None,
    diffusion_steps: Annotated[
        Optional[int], typer.Option(help="Of each PatchDiff, instead of the budget's.")
    ] = None,
    samples: Annotated[
        Optional[int], typer.Option(help="Windows from each PatchDiff, instead of the budget's.")
    ] = None,
    detector_steps: Annotated[
        Optional[int], typer.Option(help="Of each detector, instead of the budget's.")
    ] = None,
    sampler: Annotated[
        Literal["ddim", "ddpm"], typer.Option(help="DDIM, or DDPM with all 1000 steps.")
    ] = "ddim",
    sampling_steps: Annotated[
        Optional[int], typer.Option(help="Of DDIM; 25, and 50 with --budget full.")
    ] = None,
    patches: Annotated[
        Optional[int],
        typer.Option(help="Positive patches a step; 256, and 128 with --budget full."),
    ] = None,
    neighbours: Annotated[
        Optional[int],
        typer.Option(
            help="Patches are cut as N x N neighbours that share their convolutions; 4, and 1 with "
            "--budget full: each by itself, as in the paper."
        ),
    ] = None,
    alike: Annotated[
        Optional[float],
        typer.Option(
            help="Share of the patches in wrong places whose places look alike; 0: all at random, "
            "as in the paper."
        ),
    ] = None,
    inside: Annotated[
        Optional[float],
        typer.Option(
            help="Share of the windows that are normal but for a region; 0.5, and 0 with --budget "
            "full: all are generated as a whole, as in the paper."
        ),
    ] = None,
    exchanged: Annotated[
        Optional[float],
        typer.Option(
            help="Share of these regions that are another normal picture's, but for a seam; the "
            "others are generated."
        ),
    ] = None,
    reweight_noisy: Annotated[
        bool,
        typer.Option(
            "--reweight-noisy/--no-reweight-noisy", help="Equation 1: filter fake anomalies."
        ),
    ] = True,
    reweight_tail: Annotated[
        bool,
        typer.Option("--reweight-tail/--no-reweight-tail", help="Equation 2: balance long tails."),
    ] = True,
    regularise: Annotated[
        bool,
        typer.Option("--regularise/--no-regularise", help="Equations 5 and 6."),
    ] = True,
    beta: Annotated[Optional[float], typer.Option(help="Of the densities' kernel.")] = None,
    queue: Annotated[Optional[int], typer.Option(help="Features that densities see.")] = None,
    alpha_features: Annotated[Optional[float], typer.Option(help="Of equation 5's loss.")] = None,
    alpha_gradient: Annotated[Optional[float], typer.Option(help="Of equation 6's loss.")] = None,
    rate: Annotated[float, typer.Option(help="Learning rate of the detectors.")] = 2e-3,
    diffusion_rate: Annotated[float, typer.Option(help="Learning rate of PatchDiff.")] = 2e-3,
    device: options.Device = "cpu",
    precision: Annotated[
        Optional[Literal["fp32", "bf16"]],
        typer.Option(help="Of the training; the one that this device is faster in, if not given."),
    ] = None,
    work: Annotated[
        Optional[Path],
        typer.Option(
            help="Folder of generated windows, checkpoints, logs and sheets; OUT with .grad if "
            "not given."
        ),
    ] = None,
    save_every: Annotated[int, typer.Option(min=1, help="Steps between two checkpoints.")] = 200,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the checkpoints in --work.")
    ] = False,
    tensorboard: options.Tensorboard = None,
    holdout: options.Holdout = None,
    calibration_data: options.CalibrationData = None,
    false_reject: options.TargetRate = 0.001,
    seed: Annotated[int, typer.Option(help="Of everything random.")] = 0,
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
    """Train GRAD: generate contrastive patterns, learn to tell them. Needs the extra \\[train]."""
    for package in ("torch", "onnx"):
        require(package, operation="train grad")
    from pyad_edge.export.training.device import choose_device, faster_precision

    resize, names = options.resize_of(size, shorter_side)
    fixed = {
        "diffusion_steps": diffusion_steps,
        "samples": samples,
        "detector_steps": detector_steps,
    }
    usual = {
        "sampling_steps": sampling_steps,
        "patches": patches,
        "neighbours": neighbours,
        "beta": beta,
        "queue": queue,
        "alike": alike,
        "inside": inside,
        "exchanged": exchanged,
        "alpha_features": alpha_features,
        "alpha_gradient": alpha_gradient,
    }
    settings = make_settings(
        option_names=OPTION_NAMES | names,
        resize=resize,
        crop=options.size_of(crop, "--crop"),
        levels=levels_of(levels),
        preset=preset,
        fusion=fusion,
        sampler=sampler,
        reweight_noisy=reweight_noisy,
        reweight_tail=reweight_tail,
        regularise=regularise,
        rate=rate,
        diffusion_rate=diffusion_rate,
        precision=precision or faster_precision(choose_device(device)),
        holdout=options.holdout_of(holdout, calibration_data),
        false_reject=false_reject,
        seed=seed,
        memory_limit=parse_bytes(memory_limit) if memory_limit is not None else None,
        **budget_form(budget)
        | {name: value for name, value in (fixed | usual).items() if value is not None},
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
    from pyad_edge.export.methods.grad.train import train_grad, work_folder
    from pyad_edge.export.methods.grad.work import WorkFolder

    if threads is not None:
        set_num_threads(threads)
    with progress_bar() as progress:
        report = train_grad(
            data,
            out_file,
            settings=settings,
            budget=budget,
            fixed=frozenset(name for name, value in fixed.items() if value is not None),
            device=device,
            work=WorkFolder(work or work_folder(out_file), resume, save_every, tensorboard),
            calibration_data=calibration_data,
            frames=frames,
            threads=threads,
            announce=lambda text: err.print(escape(text), highlight=False),
            progress=progress,
        )
    print_notes(report.notes)
    losses = ", ".join(f"level {level} {loss:.4f}" for level, loss in report.losses.items())
    err.print(
        escape(
            f"{report.path}: trained on {report.pictures:,} pictures in {report.seconds:.1f} s, "
            f"loss {losses}; {report.gigamacs:.2f} GMAC a picture; scores differ from torch's by "
            f"at most {report.difference:.1e} relative. {report.threshold.statement()} Generated "
            f"windows, logs and sheets: {report.work}"
        ),
        highlight=False,
    )


def levels_of(text: str) -> tuple[int, ...]:
    """Levels out of ``34,68``.

    Raises:
        SettingError: if one of them is no level.
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(part in map(str, LEVELS) for part in parts):
        raise SettingError(
            f"Expected --levels as some of {','.join(map(str, LEVELS))}, such as 34,68, got "
            f"'{text}'."
        )
    return tuple(int(part) for part in parts)
