"""Grey levels to the network's input: resize, crop, padding, normalisation."""

from __future__ import annotations

from typing import Any

import numpy as np

from pyad_edge.engine_manifest import Preprocessing
from pyad_edge.errors import SettingError
from pyad_edge.export.targets.onnx_pipeline.banded import Matrix, dense, transform
from pyad_edge.export.targets.onnx_pipeline.graph import GraphBuilder
from pyad_edge.geometry import FramePlan
from pyad_edge.ops._banded import resize_taps
from pyad_edge.ops.preprocess import _cropped, _normalization, _resized
from pyad_edge.preprocessing import input_size

__all__ = ["network_input"]


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
        planes: of :func:`~pyad_edge.export.targets.onnx_pipeline.frames.frame_planes`.
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
