"""How a frame becomes the network's input: one definition for fitting, calibration, inspection."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pyad_edge.engine_manifest import Preprocessing
from pyad_edge.errors import DataError, SettingError
from pyad_edge.ops import preprocess

__all__ = [
    "MAX_SIDE",
    "MIN_SIDE",
    "check_frame",
    "input_size",
    "map_box",
    "to_batch",
    "write_batch",
]

Frame = NDArray[np.uint8]

MIN_SIDE = 8
MAX_SIDE = 16384


def check_frame(frame: Frame) -> None:
    """Refuse what is not a frame.

    Args:
        frame: (H, W), (H, W, 1) or (H, W, 3) uint8, any strides.

    Raises:
        DataError: if the type, shape or size cannot be inspected.
    """
    expected = (
        "[infer] expected a frame as a uint8 array of shape (H, W, 3), (H, W) or (H, W, 1), got"
    )
    if not isinstance(frame, np.ndarray):
        raise DataError(f"{expected} {type(frame).__name__}. Read files with pyad_edge.read_image.")
    if frame.dtype != np.uint8:
        raise DataError(
            f"{expected} {frame.dtype}. Scale the camera's values to 0..255 the same way as for "
            "the training pictures, then convert with .astype(numpy.uint8)."
        )
    if frame.ndim not in (2, 3) or (frame.ndim == 3 and frame.shape[2] not in (1, 3)):
        hint = " Drop the alpha channel with frame[..., :3]." if frame.shape[-1:] == (4,) else ""
        raise DataError(f"{expected} shape {frame.shape}.{hint}")
    check_size(frame.shape[0], frame.shape[1])


def check_size(H: int, W: int) -> None:
    """Refuse frames too small or too large.

    Raises:
        DataError: names the size.
    """
    if not (MIN_SIDE <= H <= MAX_SIDE and MIN_SIDE <= W <= MAX_SIDE):
        raise DataError(
            f"[infer] expected sides of {MIN_SIDE} to {MAX_SIDE} pixels, got {W} x {H}. "
            "Is the camera's region of interest set?"
        )


def input_size(settings: Preprocessing) -> tuple[int, int]:
    """(H, W) of the network's input.

    Raises:
        SettingError: if it would depend on the frame.
    """
    if settings.crop is not None:
        return settings.crop
    if isinstance(settings.resize, int):
        raise SettingError(
            f"[preprocess] resize={settings.resize} sets only the shorter side. Give both sides, "
            "or a crop as well, so that every frame has the same patches."
        )
    return settings.resize


def to_batch(
    frames: Sequence[Frame],
    settings: Preprocessing,
    *,
    color_order: Literal["rgb", "bgr"] | None = None,
) -> NDArray[np.float32]:
    """Frames of any sizes as the network's input, (N, 3, H', W') float32.

    Each frame is (H, W), (H, W, 1) or (H, W, 3) uint8. ``color_order`` overrides that of
    the settings.
    """
    batch = np.empty((len(frames), 3, *input_size(settings)), np.float32)
    write_batch(frames, settings, out=batch, color_order=color_order)
    return batch


def write_batch(
    frames: Sequence[Frame],
    settings: Preprocessing,
    *,
    out: NDArray[np.float32],
    color_order: Literal["rgb", "bgr"] | None = None,
) -> None:
    """As :func:`to_batch`, into ``out``: (N, 3, H', W') float32, C-contiguous."""
    for n, frame in enumerate(frames):
        preprocess(
            frame,
            resize=settings.resize,
            crop=settings.crop,
            mean=settings.mean,
            std=settings.std,
            color_order=color_order or settings.color_order,
            out=out[n : n + 1],
        )


def map_box(
    frame_size: tuple[int, int], settings: Preprocessing
) -> tuple[float, float, float, float]:
    """The part of a frame (H, W) that the map covers: (x, y, width, height) in its pixels."""
    H, W = frame_size
    if isinstance(settings.resize, int):
        # The rule of torchvision: the longer side is truncated.
        short, long = min(H, W), max(H, W)
        side = int(settings.resize * long / short)
        resized = (settings.resize, side) if H <= W else (side, settings.resize)
    else:
        resized = settings.resize
    scale_y, scale_x = H / resized[0], W / resized[1]
    if settings.crop is None:
        return 0.0, 0.0, float(W), float(H)
    ch, cw = settings.crop
    top, left = round((resized[0] - ch) / 2.0), round((resized[1] - cw) / 2.0)
    return left * scale_x, top * scale_y, cw * scale_x, ch * scale_y
