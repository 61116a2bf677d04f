"""Patch scores to the smooth map of the network's resolution."""

from __future__ import annotations

from pyad_edge.export.targets.onnx_pipeline.banded import dense, transform
from pyad_edge.export.targets.onnx_pipeline.graph import GraphBuilder
from pyad_edge.geometry import FramePlan
from pyad_edge.ops._banded import smooth_taps

__all__ = ["gained", "smoothed"]


def smoothed(
    graph: GraphBuilder,
    patches: str,
    grid: tuple[int, int],
    size: tuple[int, int],
    sigma: float,
    *,
    align_corners: bool = False,
) -> str:
    """Maps (N, H, W) of patch scores (N, h, w): up-sampled and smoothed in one."""
    rows, columns = (
        dense(cells, smooth_taps(cells, side, sigma, align_corners))
        for cells, side in zip(grid, size, strict=True)
    )
    return transform(graph, patches, rows, columns)


def gained(graph: GraphBuilder, maps: str, plan: FramePlan | None) -> str:
    """Maps made up for patches that do not count, 0 where nothing does."""
    if plan is None or plan.gain is None:
        return maps
    return graph.op("Mul", maps, graph.constant(plan.gain, "gain"))
