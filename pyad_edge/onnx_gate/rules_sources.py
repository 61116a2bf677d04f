"""Constants, shapes as numbers, and values that are made as large as a number says."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from pyad_edge.onnx_gate.limits import MAX_FOLDED, MAX_RANK
from pyad_edge.onnx_gate.tensors import Tensor
from pyad_edge.onnx_gate.values import Call, Value, of, sized

__all__ = ["RULES"]

_CONSTANTS = {
    "value_int": np.int64,
    "value_ints": np.int64,
    "value_float": np.float32,
    "value_floats": np.float32,
}


def _constant(call: Call) -> list[Value]:
    attributes = call.node.attributes
    if len(attributes) == 1:
        ((name, found),) = attributes.items()
        if name == "value" and isinstance(found, Tensor):
            return [Value(found.shape, found.values)]
        if name in _CONSTANTS:
            return [of(np.array(found, _CONSTANTS[name]))]
    raise call.refuse("has not one value of a kind that is known here")


def _shape(call: Call) -> list[Value]:
    shape = call.shape()
    start, end = call.attribute("start", int, 0), call.attribute("end", int, len(shape))
    return [of(np.array(shape[start:end], np.int64))]


def _size(call: Call) -> list[Value]:
    count = math.prod(call.shape())
    return [of(np.array(count, np.int64))]


def _constant_of_shape(call: Call) -> list[Value]:
    wanted = call.integers(0, "")
    value = call.node.attributes.get("value")
    if wanted is None or len(wanted) > MAX_RANK or min(wanted, default=0) < 0:
        raise call.refuse("has no usable shape")
    number = np.zeros(1, np.float32)
    if value is not None:
        if not isinstance(value, Tensor) or math.prod(value.shape) != 1 or value.values is None:
            raise call.refuse("has no single number as its value")
        number = value.values.reshape(1)
    few = math.prod(wanted) <= MAX_FOLDED
    return [sized(wanted, np.full(wanted, number[0], number.dtype) if few else None)]


def _range(call: Call) -> list[Value]:
    start, limit, delta = (call.known(n)[0] for n in range(3))
    if start.dtype.kind not in "iu" or delta == 0:
        raise call.refuse("counts in something else than whole numbers above 0")
    numbers = range(int(start), int(limit), int(delta))
    few = len(numbers) <= MAX_FOLDED
    return [sized((len(numbers),), np.array(numbers, start.dtype) if few else None)]


def _resize(call: Call) -> list[Value]:
    shape = call.shape()
    policy = call.attribute("keep_aspect_ratio_policy", str, "stretch")
    if policy != "stretch" or "axes" in call.node.attributes:
        raise call.refuse("enlarges in a way that is not known here")
    place = 1 if call.node.op == "Upsample" or call.opset < 11 else 2
    if call.has(3):
        sides = call.integers(3, "")
        if sides is not None and len(sides) == len(shape) and min(sides) >= 0:
            return [Value(tuple(sides))]
    scales = (
        call.known(place)
        if call.has(place)
        else np.array(call.attribute("scales", list), np.float32)
    )
    if scales.dtype.kind != "f" or len(scales) != len(shape) or not (scales > 0).all():
        raise call.refuse("has no usable sizes or scales")
    exact = (side * float(scale) for side, scale in zip(shape, scales, strict=True))
    return [Value(tuple(math.floor(side) for side in exact))]


RULES: dict[str, Callable[[Call], list[Value]]] = {
    "Constant": _constant,
    "ConstantOfShape": _constant_of_shape,
    "Range": _range,
    "Resize": _resize,
    "Shape": _shape,
    "Size": _size,
    "Upsample": _resize,
}
