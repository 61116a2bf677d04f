"""What makes a frame a fault: values that the engine's runtime would refuse to score."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from onnx import TensorProto

from pyad_edge.export.targets.onnx_pipeline.graph import GraphBuilder

__all__ = ["Faults"]

LARGEST = float(np.finfo(np.float32).max)


class Faults:
    """Collects conditions, one flag a picture.

    By comparisons alone: NaN fails all of them, whatever a runtime's maximum makes of it.

    Args:
        graph: that grows.
    """

    def __init__(self, graph: GraphBuilder) -> None:
        self._graph = graph
        self._flags: list[str] = []

    def require(
        self, value: str, axes: Sequence[int], *, low: float = -LARGEST, high: float = LARGEST
    ) -> None:
        """Every number of a picture must lie from ``low`` to ``high``.

        Args:
            value: (N, ...) float32.
            axes: all of it but the first.
            low, high: finite.
        """
        graph = self._graph
        above = graph.op("GreaterOrEqual", value, graph.constant(low, "low"))
        below = graph.op("LessOrEqual", value, graph.constant(high, "high"))
        within = graph.op("Cast", graph.op("And", above, below), to=TensorProto.FLOAT)
        self._flags.append(graph.reduce("ReduceMin", within, axes) if axes else within)

    def sound(self) -> str:
        """(N,) bool: whether a picture met all conditions."""
        graph = self._graph
        flag = self._flags[0]
        for other in self._flags[1:]:
            flag = graph.op("Mul", flag, other)
        return graph.op("Greater", flag, graph.constant(0.5, "half"))
