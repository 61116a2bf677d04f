"""Distances to the memory bank as patch scores and picture scores: eqs. 6 and 7 of PatchCore."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pyad_edge.engine_manifest import MemoryBankHead
from pyad_edge.export.targets.onnx_pipeline.anomaly_map import gained, smoothed
from pyad_edge.export.targets.onnx_pipeline.graph import GraphBuilder
from pyad_edge.export.targets.onnx_pipeline.nearest_neighbors import GraphBank
from pyad_edge.export.targets.onnx_pipeline.parts import NetworkOutputs, Scored
from pyad_edge.export.targets.onnx_pipeline.patch_aggregation import descriptors
from pyad_edge.ops import MemoryBank

__all__ = ["bank_scores"]

Array = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class _Picture:
    """What eq. 7 looks at: of each picture the most distant patch."""

    query: str  # (N, 1, D)
    row: str  # (N,)
    distance: str  # (N,)


def bank_scores(
    outputs: NetworkOutputs, rows: Array, settings: MemoryBankHead, *, chunk_rows: int
) -> Scored:
    """Scores by a memory bank.

    Args:
        outputs: levels of the backbone, the finest first.
        rows: (M, D) float32, the bank.
        settings: aggregation, scoring and neighbours.
        chunk_rows: bank rows that are compared at a time.

    Raises:
        SettingError: if the bank has too many rows for chunks of this size.
    """
    graph, plan = outputs.graph, outputs.plan
    h, w = outputs.shapes[0][2:]
    L, D = h * w, rows.shape[1]
    bank = GraphBank.put_into(graph, rows, chunk_rows=chunk_rows)
    patches = descriptors(graph, outputs.values, outputs.shapes, settings.aggregation)
    flat = graph.op("Transpose", graph.reshape(patches, [-1, D, L]), perm=[0, 2, 1])
    distances, found = bank.search(graph.reshape(flat, [-1, D]))
    squared = graph.reshape(distances, [-1, L])
    outputs.faults.require(squared, [1])
    ranked = squared
    if plan is not None and plan.counts is not None:
        counts = graph.constant(plan.counts.reshape(1, L), "counts")
        squared = graph.op("Where", counts, squared, graph.constant(0.0, "zero"))
        ranked = graph.op("Where", counts, squared, graph.constant(-1.0, "never"))
    if settings.scoring == "maximum":
        image, scores = graph.reduce("ReduceMax", squared, [1]), squared
    else:
        winner = graph.op("ArgMax", ranked, axis=1, keepdims=1)
        row = graph.op("GatherElements", graph.reshape(found, [-1, L]), winner, axis=1)
        query = graph.op("GatherND", flat, winner, batch_dims=1)
        picture = _Picture(
            graph.op("Unsqueeze", query, graph.constant([1], "axes")),
            graph.reshape(row, [-1]),
            graph.op("Sqrt", graph.reduce("ReduceMax", squared, [1])),
        )
        image = _reweighted(graph, bank, picture, settings.neighbors)
        scores = graph.op("Sqrt", squared)
    drawn = graph.reshape(scores, [-1, h, w])
    maps = smoothed(graph, drawn, (h, w), outputs.size, outputs.sigma)
    return Scored(image, gained(graph, maps, plan))


def _reweighted(graph: GraphBuilder, bank: GraphBank, picture: _Picture, neighbors: int) -> str:
    """Eq. 7; the neighbours of every bank row are found now, by the engine's own search."""
    k = min(neighbors, len(bank.rows))
    _, table = MemoryBank(bank.rows).search(bank.rows, k=k)
    near = graph.op("Gather", graph.constant(table.astype(np.int32), "table"), picture.row, axis=0)
    rows = graph.op("Gather", bank.name, near, axis=0)
    around = graph.op("Sqrt", bank.squared(graph.op("Sub", rows, picture.query), axis=2))
    # Less the largest, so that no exponential overflows.
    largest = graph.reduce("ReduceMax", around, [1], keepdims=True)
    shares = graph.op("Exp", graph.op("Sub", around, largest))
    total = graph.reduce("ReduceSum", shares, [1])
    own = graph.op("Exp", graph.op("Sub", picture.distance, graph.reshape(largest, [-1])))
    weight = graph.op("Sub", graph.constant(1.0, "one"), graph.op("Div", own, total))
    return graph.op("Mul", picture.distance, weight)
