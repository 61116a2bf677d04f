"""Camera pictures to network input on a CUDA device."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from pyad_edge.ops._banded import resize_antialiased
from pyad_edge.ops._checks import MAX_SIDE
from pyad_edge.ops.cuda.arrays import DeviceView, as_device, result
from pyad_edge.ops.cuda.device import device_errors, require_device
from pyad_edge.ops.cuda.memory import output, tables_of
from pyad_edge.ops.preprocess import _cropped, _frames, _normalization, _resized

__all__ = ["preprocess"]


def preprocess(
    image: Any,
    *,
    resize: int | tuple[int, int],
    mean: Sequence[float],
    std: Sequence[float],
    crop: tuple[int, int] | None = None,
    color_order: Literal["rgb", "bgr"] = "rgb",
    out: Any = None,
    stream: int = 0,
) -> Any:
    """CUDA form of :func:`pyad_edge.ops.preprocess`, with the same bits.

    With pictures on the device and ``out`` given, nothing is allocated and nothing waits for the
    device (but for the first call of a size, which copies its weights).

    Args:
        image: uint8, (H, W) or (H, W, 1) mono, (H, W, 3), or a batch (N, H, W, 1 or 3), on the host
            or on the device. On the device any strides (crops, channels-first storage, reversed
            channels).
        resize: (h, w), or the length of the shorter side, each at most 16384 pixels.
        mean: of R, G, B, in units of [0, 1].
        std: of R, G, B, in units of [0, 1].
        crop: (height, width) of a centre crop after the resize.
        color_order: order of the channels of ``image``; the result is always RGB.
        out: C-contiguous float32 (N, 3, h, w) on the device to write into.
        stream: cudaStream_t as an integer; 0 is the default stream.

    Returns:
        (N, 3, h, w) float32: ``out`` if it was given, else a NumPy array where ``image`` is one,
        else a DeviceArray.

    Raises:
        BackendError: if there is no CUDA build or no device, or the device fails.
        TypeError: if ``image`` is not uint8 or ``out`` is not float32.
        ValueError: if a shape, size, mean, std or colour order does not fit.
    """
    module = require_device()
    frames = _pictures(image, stream)
    N, H, W, _ = frames.shape
    size = _resized(H, W, resize)
    (top, bottom), (left, right) = _cropped(size, crop)
    scale, offset = _normalization(mean, std)
    if color_order not in ("rgb", "bgr"):
        raise ValueError(
            f"[preprocess] expected color_order 'rgb' or 'bgr', got {color_order!r}. "
            "OpenCV's cameras deliver 'bgr', Pillow 'rgb'."
        )
    shape = (N, 3, bottom - top, right - left)
    if max(shape[2:]) > MAX_SIDE:
        raise ValueError(
            f"[preprocess] expected a result of at most {MAX_SIDE} pixels a side, got {shape[2:]} "
            f"from a picture of {(H, W)} with resize={resize!r}. Give both sides, or a crop."
        )
    written, address = output("preprocess", "out", out, shape, stream=stream)
    rows = resize_antialiased(H, size[0], top, bottom)
    columns = resize_antialiased(W, size[1], left, right)
    with device_errors(
        f"the preprocessing of {frames.shape} pictures",
        "Use pyad_edge.ops.preprocess, which needs none.",
    ):
        module.preprocess(
            frames.view.pointer,
            frames.shape,
            frames.strides,
            rows,
            tables_of(rows),
            columns,
            tables_of(columns),
            scale,
            offset,
            color_order == "bgr",
            address,
            stream,
        )
    return written if out is not None else result(written, image, stream=stream)


@dataclass(frozen=True)
class _Frames:
    """Pictures on the device as (N, H, W, C), with strides in bytes."""

    view: DeviceView
    shape: tuple[int, int, int, int]
    strides: tuple[int, ...]


def _pictures(image: Any, stream: int) -> _Frames:
    if isinstance(image, np.ndarray):
        image = np.ascontiguousarray(_frames(image))
    words = "(H, W), (H, W, 1 or 3) or (N, H, W, 1 or 3)"
    view = as_device(
        "preprocess", "image", image, np.uint8, (2, 3, 4), words, stream=stream, strided=True
    )
    shape, strides, ndim = view.shape, view.strides, len(view.shape)
    if strides is None:
        strides = tuple(math.prod(shape[axis + 1 :]) for axis in range(ndim))
    if ndim == 2:
        shape, strides = (*shape, 1), (*strides, 1)
    if ndim in (2, 3):
        shape, strides = (1, *shape), (0, *strides)
    if len(shape) != 4 or shape[3] not in (1, 3) or 0 in shape[1:]:
        raise ValueError(
            f"[preprocess] expected a picture of shape {words}, none of it empty, got {view.shape}."
            " Drop an alpha channel with image[..., :3]."
        )
    return _Frames(view, shape, strides)
