"""All commands: those of the line, and those of the workshop: train, eval, backbone, demo."""

from __future__ import annotations

import math
import re
import sys
from pathlib import Path
from typing import Annotated, Any, Literal, Optional

import typer
from rich.markup import escape

from pyad_edge.cli import (
    EPILOG,
    EngineFile,
    FalseReject,
    FixedThreshold,
    Threads,
    app,
    open_runtime,
)
from pyad_edge.console import err, out, print_json, run_app
from pyad_edge.errors import SettingError
from pyad_edge.export.augment_study import (
    SHEET,
    AugmentStudy,
    render_study,
    study_augmentations,
)
from pyad_edge.export.demo import run_demo
from pyad_edge.export.evaluate import evaluate, render
from pyad_edge.export.frame_settings import FrameSettings
from pyad_edge.export.memory import parse_bytes
from pyad_edge.export.methods.patchcore import make_settings
from pyad_edge.export.progress import progress_bar
from pyad_edge.export.train import train_patchcore
from pyad_edge.ops import set_num_threads

__all__ = ["app", "main"]

train_app = typer.Typer(
    help="Fit an engine on pictures of good parts.", no_args_is_help=True, epilog=EPILOG
)
backbone_app = typer.Typer(
    help="Make backbone files (needs the extra \\[train]).", no_args_is_help=True, epilog=EPILOG
)
app.add_typer(train_app, name="train")
app.add_typer(backbone_app, name="backbone")

HOLDOUT = 0.2
OPTION_NAMES = {
    "crop": "--crop",
    "aggregation": "--aggregation",
    "pre_dim": "--dim",
    "target_dim": "--dim",
    "coreset": "--coreset",
    "scoring": "--scoring",
    "holdout": "--holdout",
    "false_reject": "--false-reject",
    "seed": "--seed",
    "index": "--index",
    "nlist": "--nlist",
    "pq_m": "--pq-m",
    "pq_nbits": "--pq-nbits",
    "nprobe": "--nprobe",
    "candidates": "--candidates",
    "memory_limit": "--memory-limit",
}


@train_app.command("patchcore")
def train_patchcore_command(
    data: Annotated[
        Path, typer.Option(help="MVTec layout (train/good, test/...) or a folder of good pictures.")
    ],
    out_file: Annotated[Path, typer.Option("--out", help="The engine file to write.")],
    backbone: Annotated[
        str, typer.Option(help="edge18 (built in) or FILE.onnx from 'pyad-edge backbone export'.")
    ] = "edge18",
    layers: Annotated[
        Optional[str],  # noqa: UP045 - typer reads it on Python 3.10
        typer.Option(help="Outputs of the backbone, such as 2,3; all if not given."),
    ] = None,
    mean: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            metavar="R,G,B", help="For an ONNX file that does not state it: subtracted from [0, 1]."
        ),
    ] = None,
    std: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(metavar="R,G,B", help="The same: divided by afterwards."),
    ] = None,
    size: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Resize the whole picture to S or HxW pixels; 256 if nothing is given."),
    ] = None,
    shorter_side: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(help="Resize the shorter side instead (with --crop: the papers' protocol)."),
    ] = None,
    crop: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Centre crop to S or HxW after resizing."),
    ] = None,
    coreset: Annotated[
        float, typer.Option(help="Share of all patches kept, 0 < ratio <= 1.")
    ] = 0.01,
    scoring: Annotated[
        Literal["reweighted", "maximum"],
        typer.Option(help="The paper's eq. 7, or the official code's plain maximum (squared)."),
    ] = "reweighted",
    aggregation: Annotated[
        Literal["official", "average"], typer.Option(help="How patches are described.")
    ] = "official",
    dim: Annotated[
        Optional[int],  # noqa: UP045
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
    holdout: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(
            help="Share of good pictures kept out of the bank for calibration; 0.2 if not given."
        ),
    ] = None,
    calibration_data: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="Folder of other good pictures to calibrate on, instead of --holdout."),
    ] = None,
    false_reject: Annotated[
        float, typer.Option(help="Target rate of rejected normal parts.")
    ] = 0.001,
    seed: Annotated[int, typer.Option(help="Of hold-out, projection and coreset.")] = 0,
    memory_limit: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Memory the fit may use, such as 4GB; 60 % of what is free."),
    ] = None,
    pixel_format: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            metavar="NAME",
            help="What the camera sends, and files hold, by PFNC: Mono8, Mono12, BayerRG8, BGRa8, "
            "Mono32f ...; 8-bit RGB or mono if not given.",
        ),
    ] = None,
    window: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            metavar="BLACK:WHITE",
            help="Of more than 8 bits: values that become 0 and 255; all of them if not given.",
        ),
    ] = None,
    size_policy: Annotated[
        Optional[Literal["error", "resize", "letterbox", "tile"]],  # noqa: UP045
        typer.Option(help="Frames of other sizes than the network's; resize if not given."),
    ] = None,
    tile: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Of tile: S or HxW pixels of the frame; the network's input."),
    ] = None,
    overlap: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Of tile: S or HxW pixels, at least; a quarter of the tile."),
    ] = None,
    padding: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(help="Of letterbox: grey level around the frame; 114."),
    ] = None,
    mask: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="Picture of the region of interest: black is never looked at."),
    ] = None,
    threads: Threads = None,
) -> None:
    """Fit PatchCore. Needs no torch and no GPU."""
    if size is not None and shorter_side is not None:
        raise SettingError("Give either --size or --shorter-side, not both.")
    if holdout is not None and calibration_data is not None:
        raise SettingError(
            "Give either --holdout or --calibration-data, not both: with a folder of other good "
            "pictures, all of --data is fitted on."
        )
    if holdout is None:
        holdout = HOLDOUT if calibration_data is None else 0.0
    settings = make_settings(
        option_names=OPTION_NAMES
        | {"resize": "--size" if shorter_side is None else "--shorter-side"},
        resize=shorter_side if shorter_side is not None else _size(size or "256", "--size"),
        crop=_size(crop, "--crop") if crop is not None else None,
        aggregation=aggregation,
        pre_dim=dim,
        target_dim=dim,
        coreset=coreset,
        scoring=scoring,
        holdout=holdout,
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
    if threads is not None:
        set_num_threads(threads)
    with progress_bar() as progress:
        report = train_patchcore(
            data,
            out_file,
            settings=settings,
            backbone=backbone,
            layers=layers,
            mean=_channels(mean, "--mean"),
            std=_channels(std, "--std"),
            calibration_data=calibration_data,
            frames=_frames(
                pixel_format=pixel_format,
                window=_window(window),
                size_policy=size_policy,
                tile=_size(tile, "--tile") if tile is not None else None,
                overlap=_size(overlap, "--overlap") if overlap is not None else None,
                padding=padding,
                mask=mask,
            ),
            threads=threads,
            progress=progress,
        )
    for note in report.notes:
        err.print(f"[yellow]Note:[/] {escape(note)}", highlight=False)
    err.print(
        escape(
            f"{report.path}: {report.bank_rows:,} bank rows from {report.pictures:,} pictures in "
            f"{report.seconds:.1f} s. {report.threshold.statement()}"
        ),
        highlight=False,
    )
    if report.search is not None:
        err.print(escape(f"Search: {report.search}"), highlight=False)


@app.command("eval")
def eval_command(
    engine: EngineFile,
    data: Annotated[Path, typer.Option(help="A data set in MVTec layout with test pictures.")],
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    save: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="Write an overlay of every test picture to this folder."),
    ] = None,
    augment: Annotated[
        bool,
        typer.Option(
            "--augment",
            help="How the engine bears pictures that are turned, shifted, relit or blurred; --save "
            "writes a sheet of them.",
        ),
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Of --augment.")] = 0,
    false_reject: FalseReject = None,
    threshold: FixedThreshold = None,
    threads: Threads = None,
) -> None:
    """Measure an engine: AUROC of pictures and pixels, AUPRO, F1, false rejects, ms per picture."""
    runtime = open_runtime(engine, false_reject=false_reject, threshold=threshold, threads=threads)
    if augment:
        with progress_bar() as progress:
            study = study_augmentations(runtime, data, seed=seed, save=save, progress=progress)
        _print_study(study, as_json=as_json, save=save)
        return
    with progress_bar() as progress:
        report = evaluate(runtime, data, save=save, progress=progress)
    if as_json:
        print_json(report.to_dict())
    else:
        out.print(render(report))
        for note in report.notes:
            err.print(f"[yellow]Note:[/] {escape(note)}", highlight=False)
        if save is not None:
            err.print(f"Overlays: {escape(str(save))}")


def _print_study(study: AugmentStudy, *, as_json: bool, save: Path | None) -> None:
    if as_json:
        print_json(study.to_dict())
        return
    out.print(render_study(study))
    for note in study.notes:
        err.print(f"[yellow]Note:[/] {escape(note)}", highlight=False)
    if save is not None:
        err.print(f"Sheet: {escape(str(save / SHEET))}")


@backbone_app.command("export")
def backbone_export_command(
    name: Annotated[
        str, typer.Argument(metavar="NETWORK", help="A timm name, or torchvision:NAME.")
    ],
    weights: Annotated[
        str,
        typer.Option(help="FILE.safetensors, or 'hub' to download them, or 'random' for tests."),
    ],
    layers: Annotated[str, typer.Option(help="Levels wanted, such as 2,3 or layer2,layer3.")],
    out_file: Annotated[Path, typer.Option("--out", help="The ONNX file to write.")],
    seed: Annotated[int, typer.Option(help="Of random weights.")] = 0,
) -> None:
    """Export a network of timm or torchvision as a backbone file that 'train' accepts."""
    from pyad_edge.export.onnx import export_backbone

    report = export_backbone(name, weights=weights, layers=layers, out=out_file, seed=seed)
    err.print(escape(report.statement()), highlight=False)


@app.command()
def demo(
    folder: Annotated[
        Path, typer.Option("--out", help="Where pictures, engine and overlays go.")
    ] = Path("demo-out"),
    seed: Annotated[int, typer.Option(help="Of the generated pictures.")] = 0,
    threads: Threads = None,
) -> None:
    """Generate pictures of a part, fit an engine, and inspect a stream of new ones."""
    run_demo(folder, seed=seed, threads=threads)


def _size(text: str, option: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{1,9})(?:x(\d{1,9}))?", text.strip().lower())
    if not match:
        raise SettingError(f"Expected {option} as S or HxW, such as 256 or 256x320, got '{text}'.")
    height = int(match.group(1))
    return height, int(match.group(2) or height)


def _frames(**given: Any) -> FrameSettings | None:
    """Settings of the frames; None where nothing was said about them."""
    said = {name: value for name, value in given.items() if value is not None}
    return FrameSettings(**said) if said else None


def _window(text: str | None) -> tuple[float, float] | None:
    if text is None:
        return None
    try:
        black, white = (float(part) for part in text.split(":"))
    except ValueError:
        raise SettingError(
            f"Expected --window as BLACK:WHITE, such as 0:4095, got '{text}'."
        ) from None
    return black, white


def _channels(text: str | None, option: str) -> tuple[float, ...] | None:
    if text is None:
        return None
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = ()
    if len(values) != 3 or not all(map(math.isfinite, values)):
        raise SettingError(
            f"Expected {option} as three numbers, such as 0.485,0.456,0.406, got '{text}'."
        )
    return values


def main() -> None:
    """Entry point of the command ``pyad-edge``."""
    sys.exit(run_app(app))
