"""Resizing and smoothing as products with constant matrices: the kernels' weights, dense."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pyad_edge.export.targets.onnx_pipeline.graph import GraphBuilder
from pyad_edge.ops._banded import Taps

__all__ = ["dense", "transform"]

Matrix = NDArray[np.float32]

BLOCK = 32  # outputs whose inputs are cut out together
_SMALL = 1 << 16  # entries of a matrix that is not worth cutting


def dense(size: int, taps: Taps) -> Matrix:
    """(outputs, size) float32 of the weights that the kernels use."""
    first, weights = taps
    matrix = np.zeros((len(first), size), np.float32)
    rows, offsets = np.nonzero(weights)
    matrix[rows, first[rows] + offsets] = weights[rows, offsets]
    return matrix


def transform(graph: GraphBuilder, value: str, rows: Matrix, columns: Matrix) -> str:
    """``rows @ value @ columns.T`` of the last two axes.

    Args:
        graph: that grows.
        value: (..., h, w) float32.
        rows: (H, h); columns: (W, w).
    """
    return _columns(graph, _rows(graph, value, rows), columns)


def _rows(graph: GraphBuilder, value: str, matrix: Matrix) -> str:
    parts = []
    for begin, end, first, last in _blocks(matrix):
        part = graph.slice(value, -2, first, last) if last - first < matrix.shape[1] else value
        weights = graph.constant(matrix[begin:end, first:last], "rows")
        parts.append(graph.op("MatMul", weights, part))
    return parts[0] if len(parts) == 1 else graph.op("Concat", *parts, axis=-2)


def _columns(graph: GraphBuilder, value: str, matrix: Matrix) -> str:
    parts = []
    for begin, end, first, last in _blocks(matrix):
        part = graph.slice(value, -1, first, last) if last - first < matrix.shape[1] else value
        weights = graph.constant(matrix[begin:end, first:last].T, "columns")
        parts.append(graph.op("MatMul", part, weights))
    return parts[0] if len(parts) == 1 else graph.op("Concat", *parts, axis=-1)


def _blocks(matrix: Matrix) -> list[tuple[int, int, int, int]]:
    """(begin, end) of outputs with (first, last) of the inputs that they read.

    A large matrix is nearly empty: its band is cut into blocks, where that saves half of the work.
    """
    whole = [(0, len(matrix), 0, matrix.shape[1])]
    if matrix.size <= _SMALL:
        return whole
    blocks = []
    for begin in range(0, len(matrix), BLOCK):
        end = min(begin + BLOCK, len(matrix))
        read = np.flatnonzero(matrix[begin:end].any(axis=0))
        first, last = (int(read[0]), int(read[-1]) + 1) if len(read) else (0, 1)
        blocks.append((begin, end, first, last))
    work = sum((end - begin) * (last - first) for begin, end, first, last in blocks)
    return blocks if 2 * work <= matrix.size else whole
