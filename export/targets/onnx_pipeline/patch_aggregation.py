"""Feature maps of several levels to one descriptor per patch, as convolutions and products."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pyad_edge.engine_manifest import Aggregation
from pyad_edge.export.targets.onnx_pipeline.banded import dense, transform
from pyad_edge.export.targets.onnx_pipeline.graph import GraphBuilder
from pyad_edge.ops._banded import upsample_taps
from pyad_edge.ops.patch_aggregation import level_taps, output_dim

__all__ = ["descriptors"]

BLOCK = 64  # dims whose channels are cut out together: a dim reads few of a level's channels


def descriptors(
    graph: GraphBuilder,
    features: Sequence[str],
    shapes: Sequence[tuple[int, ...]],
    settings: Aggregation,
) -> str:
    """Patch descriptors (N, D, h, w) on the grid of the first level.

    Args:
        graph: that grows.
        features: levels, each (N, C, h, w) float32, the finest first.
        shapes: of these.
        settings: of the head.
    """
    channels = [shape[1] for shape in shapes]
    D = output_dim(
        channels,
        variant=settings.variant,
        pre_dim=settings.pre_dim,
        target_dim=settings.target_dim,
    )
    h, w = shapes[0][2:]
    parts = []
    for index, (value, shape) in enumerate(zip(features, shapes, strict=True)):
        begin, end, pooled = _pooled(graph, value, index, channels, settings)
        if shape[2:] != (h, w):
            rows = dense(shape[2], upsample_taps(shape[2], h))
            columns = dense(shape[3], upsample_taps(shape[3], w))
            pooled = transform(graph, pooled, rows, columns)
        if (begin, end) != (0, D):
            pads = graph.constant([0, begin, 0, 0, 0, D - end, 0, 0], "pads")
            pooled = graph.op("Pad", pooled, pads)
        parts.append(pooled)
    total = parts[0]
    for part in parts[1:]:
        total = graph.op("Add", total, part)
    return total


def _pooled(
    graph: GraphBuilder, value: str, index: int, channels: Sequence[int], settings: Aggregation
) -> tuple[int, int, str]:
    """The dims [begin, end) that a level adds to, and its part of them at its own resolution."""
    C = channels[index]
    if settings.variant == "sum":
        return 0, C, value
    if settings.variant == "average":
        mean = graph.constant(np.full((C, 1, 3, 3), 1.0 / 9.0, np.float32), "mean")
        begin = sum(channels[:index])
        return begin, begin + C, graph.op("Conv", value, mean, group=C, pads=[1, 1, 1, 1])
    dim, flat, weight = level_taps(
        index,
        channels,
        variant=settings.variant,
        pre_dim=settings.pre_dim,
        target_dim=settings.target_dim,
    )
    begin, end = int(dim[0]), int(dim[-1]) + 1
    parts = []
    for first in range(begin, end, BLOCK):
        last = min(first + BLOCK, end)
        kept = (dim >= first) & (dim < last)
        low, high = int(flat[kept][0]) // 9, int(flat[kept].max()) // 9 + 1
        stencil = _stencil(dim[kept] - first, flat[kept] - 9 * low, weight[kept], last - first)
        part = graph.slice(value, 1, low, high) if high - low < C else value
        weights = graph.constant(stencil, "stencil")
        parts.append(graph.op("Conv", part, weights, pads=[1, 1, 1, 1]))
    return begin, end, parts[0] if len(parts) == 1 else graph.op("Concat", *parts, axis=1)


def _stencil(
    dim: NDArray[np.int64], flat: NDArray[np.int64], weight: NDArray[np.float64], dims: int
) -> NDArray[np.float32]:
    """(dims, channels, 3, 3) float32 of the entries of a level's linear map."""
    channels = int(flat.max()) // 9 + 1
    stencil = np.zeros((dims, channels * 9), np.float32)
    stencil[dim, flat] = weight
    return stencil.reshape(dims, channels, 3, 3)
