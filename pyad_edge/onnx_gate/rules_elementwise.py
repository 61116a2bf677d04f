"""Shapes of operators that work number by number, and of those that keep their input's shape."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyad_edge.onnx_gate.limits import MAX_FOLDED
from pyad_edge.onnx_gate.tensors import DTYPES
from pyad_edge.onnx_gate.values import Call, Value, axis_of, broadcast, of

__all__ = ["RULES"]

Array = NDArray[Any]
Rule = Callable[[Call], list[Value]]

# Those with a function may lead to a shape, so they are computed where their input is known.
_UNARY: dict[str, Callable[[Array], Array] | None] = {
    "Abs": np.abs,
    "Ceil": np.ceil,
    "Floor": np.floor,
    "Identity": np.array,
    "Neg": np.negative,
    "Not": np.logical_not,
    "Round": np.rint,
    "Sqrt": np.sqrt,
    **dict.fromkeys(
        (
            "Celu",
            "Cos",
            "CumSum",
            "DequantizeLinear",
            "Elu",
            "Erf",
            "Exp",
            "Gelu",
            "GroupNormalization",
            "HardSigmoid",
            "HardSwish",
            "InstanceNormalization",
            "LRN",
            "LeakyRelu",
            "Log",
            "LogSoftmax",
            "LpNormalization",
            "MeanVarianceNormalization",
            "Mish",
            "QuantizeLinear",
            "Reciprocal",
            "Relu",
            "Selu",
            "Sigmoid",
            "Sign",
            "Sin",
            "Softmax",
            "Softplus",
            "Softsign",
            "Swish",
            "Tanh",
            "ThresholdedRelu",
            "Trilu",
        )
    ),
}
_BINARY: dict[str, Callable[[Array, Array], Array] | None] = {
    "Add": np.add,
    "And": np.logical_and,
    "Equal": np.equal,
    "Greater": np.greater,
    "GreaterOrEqual": np.greater_equal,
    "Less": np.less,
    "LessOrEqual": np.less_equal,
    "Max": np.maximum,
    "Min": np.minimum,
    "Mul": np.multiply,
    "Or": np.logical_or,
    "Sub": np.subtract,
    "Sum": np.add,
    **dict.fromkeys(["Mean", "Mod", "PRelu", "Pow", "Xor"]),
}


def _same(call: Call) -> list[Value]:
    function, value = _UNARY[call.node.op], call.value()
    if function is not None and value.data is not None:
        return [of(np.asarray(function(value.data)))]
    return [Value(value.shape)]


def _combined(call: Call) -> list[Value]:
    values = [call.value(n) for n in range(len(call.inputs))]
    shape = broadcast(call, [value.shape for value in values])
    function = _BINARY[call.node.op]
    known = [value.data for value in values if value.data is not None]
    if function is None or len(known) < len(values) or not _few(shape):
        return [Value(shape)]
    data = known[0]
    for other in known[1:]:
        data = function(data, other)
    return [of(np.broadcast_to(data, shape))]


def _divide(call: Call) -> list[Value]:
    a, b = call.value(0), call.value(1)
    shape = broadcast(call, [a.shape, b.shape])
    if a.data is None or b.data is None or not _few(shape) or not b.data.all():
        return [Value(shape)]
    if a.data.dtype.kind == "f":
        return [of(a.data / b.data)]
    quotient = np.abs(a.data) // np.abs(b.data)  # ONNX rounds towards zero
    return [of((np.sign(a.data) * np.sign(b.data) * quotient).astype(a.data.dtype))]


def _where(call: Call) -> list[Value]:
    values = [call.value(n) for n in range(3)]
    shape = broadcast(call, [value.shape for value in values])
    condition, a, b = (value.data for value in values)
    if condition is None or a is None or b is None or not _few(shape):
        return [Value(shape)]
    return [of(np.broadcast_to(np.where(condition.astype(bool), a, b), shape))]


def _cast(call: Call) -> list[Value]:
    value, to = call.value(), DTYPES.get(call.attribute("to", int))
    if to is None:
        raise call.refuse("casts to a type that is not known here")
    data = value.data
    if data is None or call.node.attributes["to"] == 16:  # bfloat16
        return [Value(value.shape)]
    # What a float beyond the whole numbers becomes depends on the machine.
    if data.dtype.kind == "f" and to.kind in "iu" and not (np.abs(data) < 2.0**31).all():
        return [Value(value.shape)]
    return [of(data.astype(to))]


def _clip(call: Call) -> list[Value]:
    value = call.value()
    if value.data is None:
        return [Value(value.shape)]
    data = value.data
    for place, name, function in ((1, "min", np.maximum), (2, "max", np.minimum)):
        if call.has(place):
            data = function(data, call.known(place)[0])
        elif name in call.node.attributes:
            data = function(data, np.float32(call.attribute(name, float)))
    return [of(data.astype(value.data.dtype))]


def _dropout(call: Call) -> list[Value]:
    if call.has(2):
        raise call.refuse("has a training mode, which would make verdicts random")
    return [Value(call.shape())] * 2


def _batch_norm(call: Call) -> list[Value]:
    if len(call.node.outputs) != 1 or call.attribute("training_mode", int, 0):
        raise call.refuse("is left in its training mode")
    return [Value(call.shape())]


def _layer_norm(call: Call) -> list[Value]:
    shape = call.shape()
    axis = axis_of(call, call.attribute("axis", int, -1), len(shape))
    reduced = shape[:axis] + (1,) * (len(shape) - axis)
    return [Value(shape), Value(reduced), Value(reduced)]


def _few(shape: tuple[int, ...]) -> bool:
    return math.prod(shape) <= MAX_FOLDED


RULES: dict[str, Rule] = {
    **dict.fromkeys(_UNARY, _same),
    **dict.fromkeys(_BINARY, _combined),
    "BatchNormalization": _batch_norm,
    "Cast": _cast,
    "Clip": _clip,
    "Div": _divide,
    "Dropout": _dropout,
    "LayerNormalization": _layer_norm,
    "Where": _where,
}
