"""Shapes of operators that cut, join, repeat and rearrange values."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from pyad_edge.onnx_gate.values import Call, Value, axis_of, broadcast, sized

__all__ = ["RULES"]


def _reshape(call: Call) -> list[Value]:
    value, wanted = call.value(), call.integers(1, "shape")
    count = math.prod(value.shape)
    if wanted is None or wanted.count(-1) > 1 or min(wanted, default=0) < -1:
        raise call.refuse("has no usable shape")
    if not call.attribute("allowzero", int, 0):
        if any(side == 0 and n >= len(value.shape) for n, side in enumerate(wanted)):
            raise call.refuse("keeps an axis that its input does not have")
        wanted = [value.shape[n] if side == 0 else side for n, side in enumerate(wanted)]
    rest = math.prod(side for side in wanted if side != -1)
    if -1 in wanted and (not rest or count % rest):
        raise call.refuse(f"puts {count} numbers into the shape {tuple(wanted)}")
    shape = tuple(count // rest if side == -1 else side for side in wanted)
    if math.prod(shape) != count:
        raise call.refuse(f"puts {count} numbers into the shape {shape}")
    return [sized(shape, None if value.data is None else value.data.reshape(shape))]


def _flatten(call: Call) -> list[Value]:
    shape = call.shape()
    axis = call.attribute("axis", int, 1)
    if axis < 0 or axis > len(shape):
        axis = axis_of(call, axis, len(shape))
    return [Value((math.prod(shape[:axis]), math.prod(shape[axis:])))]


def _transpose(call: Call) -> list[Value]:
    value = call.value()
    rank = len(value.shape)
    order = call.attribute("perm", list, list(range(rank))[::-1])
    if sorted(order) != list(range(rank)):
        raise call.refuse(f"puts {rank} axes in the order {order}")
    data = None if value.data is None else value.data.transpose(order)
    return [sized([value.shape[axis] for axis in order], data)]


def _squeeze(call: Call) -> list[Value]:
    value = call.value()
    rank = len(value.shape)
    wanted = call.integers(1, "axes")
    if wanted is None:
        wanted = [n for n, side in enumerate(value.shape) if side == 1]
    axes = {axis_of(call, axis, rank) for axis in wanted}
    if any(value.shape[axis] != 1 for axis in axes):
        raise call.refuse(f"removes an axis from {value.shape} that is not 1")
    shape = [side for n, side in enumerate(value.shape) if n not in axes]
    return [sized(shape, None if value.data is None else value.data.reshape(shape))]


def _unsqueeze(call: Call) -> list[Value]:
    value, wanted = call.value(), call.integers(1, "axes")
    rank = len(value.shape) + len(wanted or ())
    axes = {axis_of(call, axis, rank) for axis in wanted or ()}
    if len(axes) != len(wanted or ()):
        raise call.refuse("makes one axis twice")
    rest = iter(value.shape)
    shape = [1 if n in axes else next(rest) for n in range(rank)]
    return [sized(shape, None if value.data is None else value.data.reshape(shape))]


def _concat(call: Call) -> list[Value]:
    values = [call.value(n) for n in range(len(call.inputs))]
    first = values[0].shape if values else ()
    axis = axis_of(call, call.attribute("axis", int), len(first))
    others = {(*v.shape[:axis], *v.shape[axis + 1 :]) for v in values}
    if not first or len(others) != 1 or any(len(v.shape) != len(first) for v in values):
        raise call.refuse(f"joins shapes that do not fit: {[v.shape for v in values]}")
    shape = list(first)
    shape[axis] = sum(value.shape[axis] for value in values)
    known = [value.data for value in values if value.data is not None]
    return [sized(shape, np.concatenate(known, axis) if len(known) == len(values) else None)]


def _split(call: Call) -> list[Value]:
    shape, count = call.shape(), len(call.node.outputs)
    axis = axis_of(call, call.attribute("axis", int, 0), len(shape))
    sizes = call.integers(1, "split")
    if sizes is None:
        part = -(-shape[axis] // count)
        sizes = [part] * (count - 1) + [shape[axis] - part * (count - 1)]
    if len(sizes) != count or min(sizes) < 0 or sum(sizes) != shape[axis]:
        raise call.refuse(f"cuts {shape[axis]} into {sizes}")
    return [Value((*shape[:axis], size, *shape[axis + 1 :])) for size in sizes]


def _slice(call: Call) -> list[Value]:
    value = call.value()
    rank = len(value.shape)
    starts, ends = call.integers(1, "starts"), call.integers(2, "ends")
    if starts is None or ends is None:
        raise call.refuse("has no usable starts and ends")
    axes = call.integers(3, "axes") or list(range(len(starts)))
    steps = (call.integers(4, "") if call.has(4) else None) or [1] * len(starts)
    if not len(starts) == len(ends) == len(axes) == len(steps) or 0 in steps:
        raise call.refuse("has starts, ends, axes and steps that do not fit each other")
    cuts = [slice(None)] * rank
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        place = axis_of(call, axis, rank)
        side = value.shape[place]
        # To the beginning, inclusive, when walking back; NumPy takes -1 for the last one.
        stop = None if step < 0 and end < -side else end
        cuts[place] = slice(start, stop, step)
    shape = [len(range(*cut.indices(side))) for cut, side in zip(cuts, value.shape, strict=True)]
    return [sized(shape, None if value.data is None else value.data[tuple(cuts)])]


def _gather(call: Call) -> list[Value]:
    value, indices = call.value(0), call.value(1)
    axis = axis_of(call, call.attribute("axis", int, 0), len(value.shape))
    shape = (*value.shape[:axis], *indices.shape, *value.shape[axis + 1 :])
    if value.data is None or indices.data is None:
        return [Value(shape)]
    side = value.shape[axis]
    if (
        indices.data.dtype.kind not in "iu"
        or not ((indices.data >= -side) & (indices.data < side)).all()
    ):
        raise call.refuse(f"takes an entry that is not among {side}")
    return [sized(shape, np.take(value.data, indices.data.astype(np.int64), axis))]


def _gather_elements(call: Call) -> list[Value]:
    return [Value(call.shape(1))]


def _expand(call: Call) -> list[Value]:
    value, wanted = call.value(), call.integers(1, "shape")
    if wanted is None or min(wanted, default=1) < 0:
        raise call.refuse("has no usable shape")
    shape = broadcast(call, [value.shape, tuple(wanted)])
    return [sized(shape, None if value.data is None else np.broadcast_to(value.data, shape))]


def _tile(call: Call) -> list[Value]:
    value, times = call.value(), call.integers(1, "repeats")
    if times is None or len(times) != len(value.shape) or min(times, default=1) < 0:
        raise call.refuse("has no usable repeats")
    return [Value(tuple(side * n for side, n in zip(value.shape, times, strict=True)))]


def _pad(call: Call) -> list[Value]:
    shape, pads = call.shape(), call.integers(1, "pads")
    rank = len(shape)
    axes = (call.integers(3, "") if call.has(3) else None) or list(range(rank))
    if pads is None or len(pads) != 2 * len(axes):
        raise call.refuse("has no usable pads")
    sides = list(shape)
    for n, axis in enumerate(axes):
        sides[axis_of(call, axis, rank)] += pads[n] + pads[n + len(axes)]
    return [Value(tuple(sides))]


def _space(call: Call) -> list[Value]:
    shape, block = call.shape(), call.attribute("blocksize", int)
    if len(shape) != 4 or block < 1:
        raise call.refuse(f"rearranges a value of shape {shape} in blocks of {block}")
    n, c, h, w = shape
    deeper = call.node.op == "SpaceToDepth"
    if (h % block or w % block) if deeper else c % (block * block):
        raise call.refuse(f"rearranges a value of shape {shape} in blocks of {block}")
    area = block * block
    if deeper:
        return [Value((n, c * area, h // block, w // block))]
    return [Value((n, c // area, h * block, w * block))]


RULES: dict[str, Callable[[Call], list[Value]]] = {
    "Concat": _concat,
    "DepthToSpace": _space,
    "Expand": _expand,
    "Flatten": _flatten,
    "Gather": _gather,
    "GatherElements": _gather_elements,
    "Pad": _pad,
    "Reshape": _reshape,
    "Slice": _slice,
    "SpaceToDepth": _space,
    "Split": _split,
    "Squeeze": _squeeze,
    "Tile": _tile,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
