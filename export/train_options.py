"""Options that the train commands share, and what their texts mean."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Annotated, Any, Literal, Optional

import typer

from pyad_edge.errors import SettingError
from pyad_edge.export.frame_settings import FrameSettings

__all__ = [
    "BANK_OPTION_NAMES",
    "Backbones",
    "CalibrationData",
    "Checkpoint",
    "Coreset",
    "Crop",
    "Data",
    "Device",
    "EngineOut",
    "Holdout",
    "Layers",
    "Log",
    "Mean",
    "MemoryLimit",
    "Overlap",
    "Padding",
    "PixelFormat",
    "Precision",
    "Resume",
    "Roi",
    "Scoring",
    "Seed",
    "ShorterSide",
    "Size",
    "SizePolicy",
    "Std",
    "TargetRate",
    "Tensorboard",
    "Tile",
    "Window",
    "channels_of",
    "frames_of",
    "holdout_of",
    "resize_of",
    "size_of",
]

HOLDOUT = 0.2
BANK_OPTION_NAMES = {
    "crop": "--crop",
    "coreset": "--coreset",
    "scoring": "--scoring",
    "holdout": "--holdout",
    "false_reject": "--false-reject",
    "seed": "--seed",
    "memory_limit": "--memory-limit",
}

# typer reads Optional on Python 3.10, where it does not read X | None.
# ruff: noqa: UP045
Data = Annotated[
    Path, typer.Option(help="MVTec layout (train/good, test/...) or a folder of good pictures.")
]
EngineOut = Annotated[Path, typer.Option("--out", help="The engine file to write.")]
Backbones = Annotated[
    list[str],
    typer.Option(
        help="edge18 (built in) or FILE.onnx from 'pyad-edge backbone export'. Several times: an "
        "ensemble in one engine."
    ),
]
Layers = Annotated[
    Optional[str], typer.Option(help="Outputs of the backbone, such as 2,3; all if not given.")
]
Mean = Annotated[
    Optional[str],
    typer.Option(
        metavar="R,G,B", help="For an ONNX file that does not state it: subtracted from [0, 1]."
    ),
]
Std = Annotated[
    Optional[str], typer.Option(metavar="R,G,B", help="The same: divided by afterwards.")
]
Size = Annotated[
    Optional[str],
    typer.Option(help="Resize the whole picture to S or HxW pixels; 256 if nothing is given."),
]
ShorterSide = Annotated[
    Optional[int],
    typer.Option(help="Resize the shorter side instead (with --crop: the papers' protocol)."),
]
Crop = Annotated[Optional[str], typer.Option(help="Centre crop to S or HxW after resizing.")]
Coreset = Annotated[float, typer.Option(help="Share of all patches kept, 0 < ratio <= 1.")]
Scoring = Annotated[
    Literal["reweighted", "maximum"],
    typer.Option(help="The paper's eq. 7, or the official code's plain maximum (squared)."),
]
Holdout = Annotated[
    Optional[float],
    typer.Option(
        help="Share of good pictures kept out of the bank for calibration; 0.2 if not given."
    ),
]
CalibrationData = Annotated[
    Optional[Path],
    typer.Option(help="Folder of other good pictures to calibrate on, instead of --holdout."),
]
TargetRate = Annotated[float, typer.Option(help="Target rate of rejected normal parts.")]
Seed = Annotated[int, typer.Option(help="Of hold-out, projection and coreset.")]
MemoryLimit = Annotated[
    Optional[str],
    typer.Option(help="Memory the fit may use, such as 4GB; 60 % of what is free."),
]
PixelFormat = Annotated[
    Optional[str],
    typer.Option(
        metavar="NAME",
        help="What the camera sends, and files hold, by PFNC: Mono8, Mono12, BayerRG8, BGRa8, "
        "Mono32f ...; 8-bit RGB or mono if not given.",
    ),
]
Window = Annotated[
    Optional[str],
    typer.Option(
        metavar="BLACK:WHITE",
        help="Of more than 8 bits: values that become 0 and 255; all of them if not given.",
    ),
]
SizePolicy = Annotated[
    Optional[Literal["error", "resize", "letterbox", "tile"]],
    typer.Option(help="Frames of other sizes than the network's; resize if not given."),
]
Tile = Annotated[
    Optional[str],
    typer.Option(help="Of tile: S or HxW pixels of the frame; the network's input."),
]
Overlap = Annotated[
    Optional[str],
    typer.Option(help="Of tile: S or HxW pixels, at least; a quarter of the tile."),
]
Padding = Annotated[
    Optional[int], typer.Option(help="Of letterbox: grey level around the frame; 114.")
]
Roi = Annotated[
    Optional[Path],
    typer.Option("--mask", help="Picture of the region of interest: black is never looked at."),
]
Device = Annotated[str, typer.Option(help="Of the training: cpu, cuda or cuda:1.")]
Precision = Annotated[
    Literal["fp32", "bf16"],
    typer.Option(help="Of the training; bf16 where the device multiplies it faster."),
]
Checkpoint = Annotated[
    Optional[Path],
    typer.Option(help="FILE.safetensors that the training is saved to while it runs."),
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on from --checkpoint.")]
Log = Annotated[Optional[Path], typer.Option(help="FILE.csv of the loss, step by step.")]
Tensorboard = Annotated[
    Optional[Path], typer.Option(help="Folder for TensorBoard, which must be installed.")
]


def size_of(text: str | None, option: str) -> tuple[int, int] | None:
    """(height, width) of ``S`` or ``HxW``; None where nothing was given.

    Raises:
        SettingError: if it is neither.
    """
    if text is None:
        return None
    match = re.fullmatch(r"(\d{1,9})(?:x(\d{1,9}))?", text.strip().lower())
    if not match:
        raise SettingError(f"Expected {option} as S or HxW, such as 256 or 256x320, got '{text}'.")
    height = int(match.group(1))
    return height, int(match.group(2) or height)


def resize_of(
    size: str | None, shorter_side: int | None
) -> tuple[tuple[int, int] | int, dict[str, str]]:
    """What pictures are resized to, and which option said so.

    Raises:
        SettingError: if both did.
    """
    if size is not None and shorter_side is not None:
        raise SettingError("Give either --size or --shorter-side, not both.")
    if shorter_side is not None:
        return shorter_side, {"resize": "--shorter-side"}
    return size_of(size, "--size") or (256, 256), {"resize": "--size"}


def holdout_of(holdout: float | None, calibration_data: Path | None) -> float:
    """Share of good pictures that are kept for calibration.

    Raises:
        SettingError: if a folder of others was named as well.
    """
    if holdout is not None and calibration_data is not None:
        raise SettingError(
            "Give either --holdout or --calibration-data, not both: with a folder of other good "
            "pictures, all of --data is fitted on."
        )
    if holdout is None:
        return HOLDOUT if calibration_data is None else 0.0
    return holdout


def channels_of(text: str | None, option: str) -> tuple[float, ...] | None:
    """Three numbers; None where nothing was given.

    Raises:
        SettingError: if it is something else.
    """
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


def frames_of(
    *, window: str | None, tile: str | None, overlap: str | None, **given: Any
) -> FrameSettings | None:
    """Settings of the frames; None where nothing was said about them.

    Args:
        window, tile, overlap: as texts.
        given: ``pixel_format``, ``size_policy``, ``padding``, ``mask``.

    Raises:
        SettingError: if a text means nothing, or what was said excludes itself.
    """
    values = {
        "window": _window(window),
        "tile": size_of(tile, "--tile"),
        "overlap": size_of(overlap, "--overlap"),
        **given,
    }
    said = {name: value for name, value in values.items() if value is not None}
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
