"""Divergences of a picture's correlations from a Gaussian around each patch: FOD.

Rows of the correlations are unrolled in chunks, so that no tensor of one picture has more than
``LARGEST`` numbers, or one row's where that has more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyad_edge.errors import SettingError
from pyad_edge.export.targets.onnx_pipeline.graph import GraphBuilder

__all__ = ["LARGEST", "MAX_CHUNKS", "Correlations", "divergences"]

EPS = 1e-4  # inside the logarithms, as in FOD's public code
LARGEST = 1 << 22  # numbers: 16 MB
MAX_CHUNKS = 1024


@dataclass(frozen=True)
class Correlations:
    """A level's correlations inside a graph.

    Attributes:
        queries: (N, heads, L, d).
        keys: the same, or (heads, L, d) where they are ``shared`` by all pictures.
        shared: whether they are.
        sigmas: (N, 2, heads, L).
        heads, d: of the queries.
        grid: (h, w), L = h w.
    """

    queries: str
    keys: str
    shared: bool
    sigmas: str
    heads: int
    d: int
    grid: tuple[int, int]


def divergences(graph: GraphBuilder, level: Correlations) -> str:
    """(N, L) float32: mean over heads of ``sum (S - T) log((S + eps) / (T + eps))``.

    S is the softmax of the scaled dot products, T the Gaussian with rows that sum to 1, the product
    of one along the rows and one along the columns of the grid.

    Raises:
        SettingError: if the patches make too many chunks.
    """
    h, w = level.grid
    L = h * w
    rows = max(1, LARGEST // (level.heads * L))
    if -(-L // rows) > MAX_CHUNKS:
        raise SettingError(
            f"[export onnx] correlations of {h} x {w} patches and {level.heads} heads make "
            f"{-(-L // rows):,} chunks, at most {MAX_CHUNKS:,} are unrolled. Train with a smaller "
            "--size."
        )
    keys = graph.op("Transpose", level.keys, perm=[0, 2, 1] if level.shared else [0, 1, 3, 2])
    spreads = [
        graph.reshape(graph.slice(level.sigmas, 1, axis, axis + 1), [-1, level.heads, L, 1])
        for axis in (0, 1)
    ]
    parts = []
    for begin in range(0, L, rows):
        end = min(begin + rows, L)
        parts.append(_rows(graph, level, keys, spreads, begin, end))
    return parts[0] if len(parts) == 1 else graph.op("Concat", *parts, axis=1)


def _rows(
    graph: GraphBuilder,
    level: Correlations,
    keys: str,
    spreads: list[str],
    begin: int,
    end: int,
) -> str:
    """Patches [begin, end): (N, end - begin)."""
    (h, w), count = level.grid, end - begin
    products = graph.op("MatMul", _cut(graph, level.queries, begin, end, h * w), keys)
    logits = graph.op("Mul", products, graph.constant(float(level.d) ** -0.5, "scale"))
    attention = graph.op("Softmax", logits, axis=-1)
    y, x = np.divmod(np.arange(begin, end), w)
    across = _gaussian(graph, _cut(graph, spreads[0], begin, end, h * w), x, w)
    down = _gaussian(graph, _cut(graph, spreads[1], begin, end, h * w), y, h)
    target = graph.op(
        "Mul",
        graph.op("Unsqueeze", down, graph.constant([4], "axes")),
        graph.op("Unsqueeze", across, graph.constant([3], "axes")),
    )
    target = graph.reshape(target, [-1, level.heads, count, h * w])
    eps = graph.constant(EPS, "eps")
    # One logarithm of the ratio, as the kernel has it: a difference of two would lose digits.
    ratio = graph.op("Div", *(graph.op("Add", value, eps) for value in (attention, target)))
    terms = graph.op("Mul", graph.op("Sub", attention, target), graph.op("Log", ratio))
    total = graph.reduce("ReduceSum", terms, [1, 3])
    return graph.op("Div", total, graph.constant(float(level.heads), "heads"))


def _cut(graph: GraphBuilder, value: str, begin: int, end: int, L: int) -> str:
    return value if (begin, end) == (0, L) else graph.slice(value, 2, begin, end)


def _gaussian(graph: GraphBuilder, spread: str, at: NDArray[Any], side: int) -> str:
    """(N, heads, rows, side): around each of the rows' places along one axis, with sum 1."""
    offsets = (np.arange(side) - at[:, None]).astype(np.float32)  # (rows, side)
    scaled = graph.op("Div", graph.constant(offsets, "offsets"), spread)
    exponents = graph.op("Mul", graph.op("Mul", scaled, scaled), graph.constant(-0.5, "half"))
    return graph.op("Softmax", exponents, axis=-1)
