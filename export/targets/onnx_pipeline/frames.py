"""Frames of the engine's format to grey levels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from onnx import TensorProto

from pyad_edge.engine import Engine
from pyad_edge.errors import SettingError
from pyad_edge.export.targets.onnx_pipeline.faults import Faults
from pyad_edge.export.targets.onnx_pipeline.graph import GraphBuilder
from pyad_edge.feeder import DeclaredInput
from pyad_edge.frames import levels
from pyad_edge.pixel_formats import PixelFormat

__all__ = ["FrameInput", "frame_planes", "frame_size_of"]


@dataclass(frozen=True)
class FrameInput:
    """The graph's input ``frame``.

    Attributes:
        size: (H, W).
        dtype: NumPy's name.
        channels: of the last axis; None: there is no such axis.
    """

    size: tuple[int, int]
    dtype: str
    channels: int | None

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one frame."""
        return self.size if self.channels is None else (*self.size, self.channels)


def frame_size_of(engine: Engine) -> tuple[int, int]:
    """(H, W) of an engine's frames where nobody says another: declared, or of the golden frames."""
    spec = engine.manifest.input
    if spec is not None and spec.frame_size is not None:
        return spec.frame_size
    H, W = engine.tensors["golden/frames"].shape[1:3]
    return int(H), int(W)


def frame_planes(
    graph: GraphBuilder,
    frame: str,
    declared: DeclaredInput | None,
    *,
    color_order: str,
    faults: Faults,
) -> str:
    """Frames (N, H, W) or (N, H, W, channels) as grey levels (N, 1 or 3, H, W) float32, RGB.

    Raises:
        SettingError: if the frames' format has no form in standard operators.
    """
    pixels = None if declared is None or declared.format is None else declared.format.pixels
    values = graph.op("Cast", frame, to=TensorProto.FLOAT)
    if pixels is not None:
        _refuse(pixels)
        if declared is not None and declared.format is not None and declared.format.window:
            values = _levels(graph, frame, values, pixels, declared.format.window, faults)
    if pixels is not None and pixels.channels == 1:
        return graph.op("Unsqueeze", values, graph.constant([1], "axes"))
    planes = graph.op("Transpose", values, perm=[0, 3, 1, 2])
    order = declared.color_order if declared is not None else color_order
    if order == "rgb" and (pixels is None or pixels.channels == 3):
        return planes
    channels = [0, 1, 2] if order == "rgb" else [2, 1, 0]
    return graph.op("Gather", planes, graph.constant(channels, "channels"), axis=1)


def _refuse(pixels: PixelFormat) -> None:
    if pixels.bayer is not None or pixels.dtype == "float32":
        what = "Bayer mosaics" if pixels.bayer is not None else "floating-point frames"
        raise SettingError(
            f"[export onnx] this engine takes {pixels.name} frames; {what} have no form in a graph "
            "that scores them as the engine does. Train on a format of whole grey levels, such as "
            "RGB8 or Mono12, that the camera converts to."
        )


def _levels(
    graph: GraphBuilder,
    frame: str,
    values: str,
    pixels: PixelFormat,
    window: tuple[float, float],
    faults: Faults,
) -> str:
    """Levels of 8 bits of deep frames, looked up in the engine's own table."""
    axes = tuple(range(1, 3 if pixels.channels == 1 else 4))
    faults.require(values, axes, high=float((1 << pixels.bits) - 1))
    table = levels(np.arange(65536, dtype=np.uint16), window).astype(np.float32)
    return graph.op(
        "Gather", graph.constant(table, "levels"), graph.op("Cast", frame, to=TensorProto.INT32)
    )
