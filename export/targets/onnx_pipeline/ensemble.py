"""Scores of several members as one: the mean of their modified z-scores."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pyad_edge.engine_manifest import Fusion
from pyad_edge.export.targets.onnx_pipeline.graph import GraphBuilder
from pyad_edge.export.targets.onnx_pipeline.parts import Scored

__all__ = ["fused"]


def fused(graph: GraphBuilder, members: Sequence[Scored], fusion: Fusion) -> Scored:
    """``(s - median) / (beta mad)`` of each member's scores and maps, averaged.

    Source: ReconPatch (Hyun et al. 2024), eq. 11.

    Args:
        graph: that grows.
        members: at least two.
        fusion: one entry a member.
    """
    count = len(members)
    image, maps = "", ""
    for n, scored in enumerate(members):
        own = _scaled(graph, scored.image, fusion.median[n], count * fusion.beta * fusion.mad[n])
        image = graph.op("Add", image, own) if image else own
        spread = count * fusion.beta * fusion.map_mad[n]
        own = _scaled(graph, scored.maps, fusion.map_median[n], spread)
        maps = graph.op("Add", maps, own) if maps else own
    return Scored(image, maps)


def _scaled(graph: GraphBuilder, value: str, centre: float, spread: float) -> str:
    """``(value - centre) / spread``: float32's part of the centre first, then what it leaves out.

    The first difference is exact near the centre, where a score of normal pictures lies.
    """
    near = float(np.float32(centre))
    shifted = graph.op("Sub", value, graph.constant(near, "centre"))
    if centre != near:
        shifted = graph.op("Sub", shifted, graph.constant(centre - near, "rest"))
    return graph.op("Mul", shifted, graph.constant(1.0 / spread, "factor"))
