"""Nearest bank row of each patch: chunks of rows, unrolled; no tensor of all patches by all rows.

Rows are ranked by ``|b|^2 - 2 q.b``, bank and patches centred by the bank's mean, in float32; of
equal ones the first wins. The distance is then computed from the row that was found, as the sum of
squared differences: it is the canonical distance but for the order of its sum.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyad_edge.errors import SettingError
from pyad_edge.export.targets.onnx_pipeline.graph import MAX_BYTES, GraphBuilder

__all__ = ["MAX_CHUNKS", "GraphBank"]

MAX_CHUNKS = 512  # nodes are made for each of them

Array = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class GraphBank:
    """A memory bank inside a graph.

    Attributes:
        graph: that it is part of.
        name: of its rows there.
        rows: (M, D) float32.
        chunk_rows: rows that are compared at a time.
    """

    graph: GraphBuilder
    name: str
    rows: Array
    chunk_rows: int

    @classmethod
    def put_into(cls, graph: GraphBuilder, rows: Array, *, chunk_rows: int) -> GraphBank:
        """Add a bank's rows to a graph.

        Raises:
            SettingError: if it has too many for one file, or for chunks of this size.
        """
        if rows.nbytes > MAX_BYTES:
            raise SettingError(
                f"[export onnx] a bank of {len(rows):,} rows has {rows.nbytes / 1e9:.2f} GB; one "
                "ONNX file has less than 2 GB. Train with a smaller --coreset."
            )
        count = -(-len(rows) // chunk_rows)
        if count > MAX_CHUNKS:
            raise SettingError(
                f"[export onnx] a bank of {len(rows):,} rows in chunks of {chunk_rows:,} makes "
                f"{count:,} chunks, at most {MAX_CHUNKS} are unrolled. Use larger chunks, or train "
                "with a smaller --coreset."
            )
        return cls(graph, graph.constant(rows, "bank"), rows, chunk_rows)

    def search(self, queries: str) -> tuple[str, str]:
        """Nearest rows of queries (Q, D): squared distances (Q,) float32 and rows (Q,) int64."""
        graph, (M, _) = self.graph, self.rows.shape
        mean = self.rows.mean(axis=0, dtype=np.float64).astype(np.float32)
        centre = graph.constant(mean, "mean")
        centred = graph.op("Sub", queries, centre)
        best, row = "", ""
        for begin in range(0, M, self.chunk_rows):
            end = min(begin + self.chunk_rows, M)
            smallest, first = self._chunk(centred, centre, mean, begin, end)
            if not best:
                best, row = smallest, first
                continue
            closer = graph.op("Less", smallest, best)
            best = graph.op("Where", closer, smallest, best)
            row = graph.op("Where", closer, first, row)
        found = graph.op("Gather", self.name, row, axis=0)
        return self.squared(graph.op("Sub", queries, found)), row

    def squared(self, differences: str, axis: int = 1) -> str:
        """Squared lengths along an axis, which goes."""
        product = self.graph.op("Mul", differences, differences)
        return self.graph.reduce("ReduceSum", product, [axis])

    def _chunk(
        self, centred: str, centre: str, mean: Array, begin: int, end: int
    ) -> tuple[str, str]:
        """Of rows [begin, end): each query's smallest rank, and the row that has it."""
        graph = self.graph
        rows: Any = self.rows[begin:end] - mean
        norms = (rows.astype(np.float64) ** 2).sum(axis=1).astype(np.float32)
        part = self.name
        if (begin, end) != (0, len(self.rows)):
            part = graph.slice(self.name, 0, begin, end)
        part = graph.op("Sub", part, centre)
        ranks = graph.op(
            "Gemm", centred, part, graph.constant(norms, "norms"), alpha=-2.0, beta=1.0, transB=1
        )
        smallest = graph.reduce("ReduceMin", ranks, [1])
        first = graph.op("ArgMin", ranks, axis=1, keepdims=0)
        if begin:
            first = graph.op("Add", first, graph.constant(np.array(begin, np.int64), "begin"))
        return smallest, first
