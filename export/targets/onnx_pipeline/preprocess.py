"""Frames to the network's input: format, resize, crop, padding, normalisation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import TensorProto

from pyad_edge.engine import Engine
from pyad_edge.engine_manifest import Preprocessing
from pyad_edge.errors import SettingError
from pyad_edge.export.targets.onnx_pipeline.banded import Matrix, dense, transform
from pyad_edge.export.targets.onnx_pipeline.faults import Faults
from pyad_edge.export.targets.onnx_pipeline.graph import GraphBuilder
from pyad_edge.feeder import DeclaredInput
from pyad_edge.frames import levels
from pyad_edge.geometry import FramePlan
from pyad_edge.ops._banded import resize_taps
from pyad_edge.ops.preprocess import _cropped, _normalization, _resized
from pyad_edge.pixel_formats import PixelFormat
from pyad_edge.preprocessing import input_size

__all__ = ["FrameInput", "frame_planes", "frame_size_of", "network_input"]


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


def network_input(
    graph: GraphBuilder,
    planes: str,
    settings: Preprocessing,
    *,
    frame_size: tuple[int, int],
    plan: FramePlan | None,
    padding: int,
) -> str:
    """Grey levels (N, 1 or 3, H, W) as a network sees them, (N, 3, H', W') float32.

    Args:
        graph: that grows.
        planes: of :func:`frame_planes`.
        settings: of the network.
        frame_size: (H, W).
        plan: where the frame lies in the input; None: it fills it.
        padding: grey level around it.

    Raises:
        SettingError: if such frames are smaller than the crop after the resize.
    """
    sizes = input_size(settings)
    scale, offset = (
        np.array(values, np.float32) for values in _normalization(settings.mean, settings.std)
    )
    inner = (0, 0, *sizes) if plan is None else plan.tiles[0].inner
    rows, columns = _axes(frame_size, settings, inner)
    resized = transform(graph, planes, rows, columns)
    scaled = graph.op("Mul", resized, graph.constant(scale.reshape(3, 1, 1), "scale"))
    shifts: Any = offset.reshape(3, 1, 1)
    if inner != (0, 0, *sizes):
        means, stds = np.array(settings.mean), np.array(settings.std)
        grey = np.asarray((padding / 255.0 - means) / stds, np.float32)
        top, left, height, width = inner
        shifts = np.broadcast_to(grey.reshape(3, 1, 1), (3, *sizes)).copy()
        shifts[:, top : top + height, left : left + width] = offset.reshape(3, 1, 1)
    return graph.op("Add", scaled, graph.constant(shifts, "offset"))


def _axes(
    frame_size: tuple[int, int], settings: Preprocessing, inner: tuple[int, int, int, int]
) -> tuple[Matrix, Matrix]:
    """Rows and columns of the input by those of the frame; padding's are zeros."""
    sizes = input_size(settings)
    top, left, height, width = inner
    matrices = []
    if inner == (0, 0, *sizes):
        resized = _resized(*frame_size, settings.resize)
        try:
            kept = _cropped(resized, settings.crop)
        except ValueError as error:  # of a shorter side: frames too square for a long crop
            raise SettingError(f"[export onnx] frames of {frame_size}: {error}") from None
    else:
        resized, kept = (height, width), ((0, height), (0, width))
    for axis, begin in enumerate((top, left)):
        taps = resize_taps(frame_size[axis], resized[axis], *kept[axis])
        part = dense(frame_size[axis], taps)
        matrix = np.zeros((sizes[axis], frame_size[axis]), np.float32)
        matrix[begin : begin + len(part)] = part
        matrices.append(matrix)
    return matrices[0], matrices[1]


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
