"""A network's own map of patch scores, smoothed: GRAD."""

from __future__ import annotations

import numpy as np

from pyad_edge.export.targets.onnx_pipeline.anomaly_map import gained, smoothed
from pyad_edge.export.targets.onnx_pipeline.parts import NetworkOutputs, Scored

__all__ = ["score_map_scores"]


def score_map_scores(outputs: NetworkOutputs) -> Scored:
    """The picture's score is the map's largest value, before it is up-sampled.

    Args:
        outputs: one, (N, 1, h, w), of finite scores of 0 or more.
    """
    graph, plan = outputs.graph, outputs.plan
    (value,), ((_, _, h, w),) = outputs.values, outputs.shapes
    outputs.faults.require(value, [1, 2, 3], low=0.0)
    patches = graph.reshape(value, [-1, h, w])
    if plan is not None and plan.counts is not None:
        counts = graph.constant(plan.counts.astype(np.float32), "counts")
        patches = graph.op("Mul", patches, counts)
    image = graph.reduce("ReduceMax", patches, [1, 2])
    maps = smoothed(graph, patches, (h, w), outputs.size, outputs.sigma)
    return Scored(image, gained(graph, maps, plan))
