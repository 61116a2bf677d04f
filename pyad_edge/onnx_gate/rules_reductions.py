"""Shapes of operators that leave axes out, or sort along one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from pyad_edge.onnx_gate.values import Call, Value, axis_of, of

__all__ = ["RULES"]

# Those with a function may lead to a shape.
_REDUCTIONS: dict[str, Callable[..., Any] | None] = {
    "ReduceMax": np.max,
    "ReduceMin": np.min,
    "ReduceProd": np.prod,
    "ReduceSum": np.sum,
    **dict.fromkeys(
        (
            "ReduceL1",
            "ReduceL2",
            "ReduceLogSum",
            "ReduceLogSumExp",
            "ReduceMean",
            "ReduceSumSquare",
        )
    ),
}


def _reduce(call: Call) -> list[Value]:
    value = call.value()
    rank = len(value.shape)
    wanted = call.integers(1, "axes")
    if not wanted and call.attribute("noop_with_empty_axes", int, 0):
        return [value]
    axes = {axis_of(call, axis, rank) for axis in wanted or range(rank)}
    keep = call.attribute("keepdims", int, 1) != 0
    shape = tuple(
        1 if n in axes else side for n, side in enumerate(value.shape) if keep or n not in axes
    )
    function = _REDUCTIONS[call.node.op]
    if function is None or value.data is None or value.data.size == 0:
        return [Value(shape)]
    found = function(value.data, axis=tuple(axes) if rank else None, keepdims=keep)
    return [of(np.asarray(found, value.data.dtype).reshape(shape))]


def _place(call: Call) -> list[Value]:
    shape = call.shape()
    axis = axis_of(call, call.attribute("axis", int, 0), len(shape))
    kept = (1,) if call.attribute("keepdims", int, 1) else ()
    return [Value((*shape[:axis], *kept, *shape[axis + 1 :]))]


def _top(call: Call) -> list[Value]:
    shape = call.shape()
    axis = axis_of(call, call.attribute("axis", int, -1), len(shape))
    wanted = call.integers(1, "") if call.has(1) else [call.attribute("k", int)]
    if not wanted or not 0 <= wanted[0] <= shape[axis]:
        raise call.refuse("wants more of the largest numbers than there are")
    out = (*shape[:axis], wanted[0], *shape[axis + 1 :])
    return [Value(out), Value(out)]


RULES: dict[str, Callable[[Call], list[Value]]] = {
    **dict.fromkeys(_REDUCTIONS, _reduce),
    "ArgMax": _place,
    "ArgMin": _place,
    "TopK": _top,
}
