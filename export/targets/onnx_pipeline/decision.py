"""Scores to verdicts and p-values."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from pyad_edge.export.targets.onnx_pipeline.faults import LARGEST
from pyad_edge.export.targets.onnx_pipeline.graph import GraphBuilder

__all__ = ["FAULT", "NG", "OK", "decide", "float32_limit", "p_values"]

OK, NG, FAULT = 0, 1, 2  # values of the output ``verdict``


def float32_limit(value: float) -> np.float32:
    """The largest float32 that is not above a limit: float32 scores lie above both or neither."""
    limit: np.float32 = np.float32(value)
    if float(limit) > value:
        limit = np.nextafter(limit, np.float32(-np.inf))
    return limit


def decide(graph: GraphBuilder, score: str, threshold: str, *, name: str) -> str:
    """Verdicts (N,) int64 of scores (N,) against a threshold ().

    A score or threshold that is not finite gives ``FAULT``: by comparisons alone, all of which NaN
    fails.
    """
    finite = graph.op("And", _finite(graph, score), _finite(graph, threshold))
    above = graph.op("And", finite, graph.op("Greater", score, threshold))
    within = graph.op("And", finite, graph.op("LessOrEqual", score, threshold))
    values = {what: graph.constant(np.array(what, np.int64), "verdict") for what in (OK, NG, FAULT)}
    otherwise = graph.op("Where", above, values[NG], values[FAULT])
    return graph.op("Where", within, values[OK], otherwise, name=name)


def p_values(graph: GraphBuilder, score: str, normal: NDArray[np.float32], *, name: str) -> str:
    """Conformal p-values (N,) float32, ``(1 + #{normal scores >= score}) / (n + 1)``; NaN of NaN.

    Args:
        graph: that grows.
        score: (N,) float32.
        normal: (n,) float32, of the calibration pictures.
        name: of the output.
    """
    column = graph.op("Unsqueeze", score, graph.constant([1], "axes"))
    above = graph.op("GreaterOrEqual", graph.constant(normal, "normal"), column)
    count = graph.reduce("ReduceSum", graph.op("Cast", above, to=TensorProto.FLOAT), [1])
    share = graph.op("Add", count, graph.constant(1.0, "one"))
    share = graph.op("Div", share, graph.constant(float(len(normal) + 1), "pictures"))
    nothing = graph.constant(np.array(np.nan, np.float32), "nan")
    return graph.op("Where", _finite(graph, score), share, nothing, name=name)


def _finite(graph: GraphBuilder, value: str) -> str:
    magnitude = graph.op("Abs", value)
    return graph.op("LessOrEqual", magnitude, graph.constant(LARGEST, "largest"))
