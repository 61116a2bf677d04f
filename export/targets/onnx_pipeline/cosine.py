"""Cosine distances between encoder and decoder as a map and picture scores: ReContrast."""

from __future__ import annotations

import numpy as np

from pyad_edge.engine_manifest import CosineHead
from pyad_edge.export.targets.onnx_pipeline.anomaly_map import smoothed
from pyad_edge.export.targets.onnx_pipeline.parts import NetworkOutputs, Scored

__all__ = ["cosine_scores"]

EPS = 1e-8  # below which a vector's length counts as it


def cosine_scores(outputs: NetworkOutputs, settings: CosineHead) -> Scored:
    """Scores by the distances ``1 - <a, b> / (max(|a|, EPS) max(|b|, EPS))`` of pairs of outputs.

    Pairs of one grid are added before they are up-sampled, as the kernel does it.

    Args:
        outputs: each (N, C, h, w).
        settings: which of them are compared, and what the picture's score is.
    """
    graph = outputs.graph
    levels: dict[tuple[int, int], str] = {}
    for encoder, decoder in settings.pairs:
        _, _, h, w = outputs.shapes[encoder]
        distances = _distances(outputs, encoder, decoder)
        before = levels.get((h, w))
        levels[h, w] = graph.op("Add", before, distances) if before else distances
    maps = ""
    for grid, distances in levels.items():
        level = smoothed(
            graph,
            distances,
            grid,
            outputs.size,
            outputs.sigma,
            align_corners=settings.align_corners,
        )
        maps = graph.op("Add", maps, level) if maps else level
    return _scored(outputs, maps, settings)


def _distances(outputs: NetworkOutputs, encoder: int, decoder: int) -> str:
    """(N, h, w) of a pair."""
    graph = outputs.graph
    a, b = outputs.values[encoder], outputs.values[decoder]
    lengths = []
    for value in (a, b):
        squared = graph.reduce("ReduceSum", graph.op("Mul", value, value), [1])
        outputs.faults.require(squared, [1, 2])
        lengths.append(graph.op("Max", graph.op("Sqrt", squared), graph.constant(EPS, "eps")))
    product = graph.reduce("ReduceSum", graph.op("Mul", a, b), [1])
    cosine = graph.op("Div", product, graph.op("Mul", *lengths))
    return graph.op("Sub", graph.constant(1.0, "one"), cosine)


def _scored(outputs: NetworkOutputs, maps: str, settings: CosineHead) -> Scored:
    """Maximum or mean of what counts of a map; it is 0 elsewhere."""
    graph, plan = outputs.graph, outputs.plan
    count = outputs.size[0] * outputs.size[1]
    if plan is not None and plan.gain is not None:
        shown = plan.gain > 0
        count = int(np.count_nonzero(shown))
        maps = graph.op("Mul", maps, graph.constant(shown.astype(np.float32), "shown"))
    if settings.score == "maximum":
        return Scored(graph.reduce("ReduceMax", maps, [1, 2]), maps)
    total = graph.reduce("ReduceSum", maps, [1, 2])
    return Scored(graph.op("Div", total, graph.constant(float(count), "pixels")), maps)
