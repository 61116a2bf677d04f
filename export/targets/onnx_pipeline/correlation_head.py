"""Reconstruction errors and divergences of correlations as a map and picture scores: FOD."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyad_edge.engine_manifest import CorrelationHead, CorrelationLevel
from pyad_edge.export.targets.onnx_pipeline.anomaly_map import smoothed
from pyad_edge.export.targets.onnx_pipeline.correlation import Correlations, divergences
from pyad_edge.export.targets.onnx_pipeline.graph import GraphBuilder
from pyad_edge.export.targets.onnx_pipeline.parts import NetworkOutputs, Scored
from pyad_edge.heads.correlation import reference_keys

__all__ = ["correlation_scores", "share_of"]

Array = NDArray[np.float32]
TINY = float(np.finfo(np.float32).tiny)


def correlation_scores(
    outputs: NetworkOutputs, settings: CorrelationHead, tensors: Mapping[str, NDArray[Any]]
) -> Scored:
    """Scores by errors, divergences or both: levels up-sampled, smoothed and averaged.

    Args:
        outputs: as the settings name them.
        settings: of the head.
        tensors: of the engine, with the reference's keys.

    Raises:
        SettingError: if the patches are too many to be correlated in chunks.
    """
    graph, plan = outputs.graph, outputs.plan
    maps = ""
    for level, keys in zip(settings.levels, reference_keys(settings, tensors), strict=True):
        patches = _level(outputs, level, keys)
        drawn = graph.reshape(patches, [-1, *level.grid])
        part = smoothed(graph, drawn, level.grid, outputs.size, outputs.sigma)
        maps = graph.op("Add", maps, part) if maps else part
    if len(settings.levels) > 1:
        maps = graph.op("Mul", maps, graph.constant(1 / len(settings.levels), "share"))
    if plan is not None and plan.gain is not None:
        shown = graph.constant((plan.gain > 0).astype(np.float32), "shown")
        maps = graph.op("Mul", maps, shown)
    return Scored(graph.reduce("ReduceMax", maps, [1, 2]), maps)


def _level(outputs: NetworkOutputs, level: CorrelationLevel, keys: Array | None) -> str:
    """Scores of a level's patches, (N, L)."""
    graph, values = outputs.graph, outputs.values
    L = level.grid[0] * level.grid[1]
    errors = ""
    if level.errors is not None:
        errors = graph.reshape(values[level.errors], [-1, L])
        outputs.faults.require(errors, [1])
    if level.queries is None or level.sigmas is None:
        return errors
    outputs.faults.require(values[level.sigmas], [1, 2, 3], low=TINY)
    _, heads, _, d = outputs.shapes[level.queries]
    own = values[level.keys] if level.keys is not None else ""
    correlations = Correlations(
        queries=values[level.queries],
        keys=own or graph.constant(np.asarray(keys), "keys"),
        shared=not own,
        sigmas=values[level.sigmas],
        heads=heads,
        d=d,
        grid=level.grid,
    )
    divergence = divergences(graph, correlations)
    outputs.faults.require(divergence, [1])
    return graph.op("Mul", errors, share_of(graph, divergence)) if errors else divergence


def share_of(graph: GraphBuilder, divergence: str) -> str:
    """(Largest - own) softmax of the negative divergence over the patches, (N, L).

    With x the distance to the smallest divergence, that is (1 - exp(-x)) over the sum of exp(-x);
    1 - exp(-x) is written as 2 t / (1 + t), t = tanh(x / 2), which loses no digits where shares
    differ little: float32 then does what the engine's head does in float64.
    """
    smallest = graph.reduce("ReduceMin", divergence, [1], keepdims=True)
    x = graph.op("Sub", divergence, smallest)
    total = graph.reduce("ReduceSum", graph.op("Exp", graph.op("Neg", x)), [1], keepdims=True)
    t = graph.op("Tanh", graph.op("Mul", x, graph.constant(0.5, "half")))
    one, two = graph.constant(1.0, "one"), graph.constant(2.0, "two")
    share = graph.op("Div", graph.op("Mul", t, two), graph.op("Add", t, one))
    return graph.op("Div", share, total)
