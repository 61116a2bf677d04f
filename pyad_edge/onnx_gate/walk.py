"""How large the values of a network get for one picture, found by walking its graph."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from pyad_edge.onnx_gate.errors import GateError
from pyad_edge.onnx_gate.limits import MAX_ELEMENTS, MAX_RANK, MAX_TOTAL_ELEMENTS, MAX_WORK
from pyad_edge.onnx_gate.model import Model
from pyad_edge.onnx_gate.operators import OPERATORS
from pyad_edge.onnx_gate.values import Call, Value

__all__ = ["Prediction", "predict"]


@dataclass(frozen=True)
class Prediction:
    """What one picture takes.

    Attributes:
        operators: how many nodes of each type.
        largest: numbers of the largest value.
        total: numbers of all values together.
        work: multiplications.
        outputs: shape of each output of the network.
    """

    operators: Mapping[str, int]
    largest: int
    total: int
    work: int
    outputs: Mapping[str, tuple[int, ...]]


def predict(model: Model, shapes: Mapping[str, tuple[int, ...]]) -> Prediction:
    """Walks through the nodes; nothing larger than 4,096 numbers is computed.

    Args:
        model: see there.
        shapes: of every input, all sides known.

    Raises:
        GateError: if an operator is not in the list, shapes contradict each other, or a value or
            the whole gets too large.
    """
    values = {name: Value(t.shape, t.values) for name, t in model.initializers.items()}
    values |= {name: Value(shape) for name, shape in shapes.items()}
    largest = total = work = 0
    for node in model.nodes:
        rule = OPERATORS.get(node.op)
        if rule is None:
            raise GateError(f"its {node.title} is an operator that is not in the list")
        inputs = tuple(values[name] if name else None for name in node.inputs)
        call = Call(node, inputs, model.opset)
        try:
            with np.errstate(all="ignore"):
                found = rule(call)
        except GateError:
            raise
        except (ArithmeticError, IndexError, TypeError, ValueError) as error:
            raise call.refuse(f"has inputs or attributes that do not fit it ({error})") from error
        if len(node.outputs) > len(found):
            raise call.refuse(f"has {len(node.outputs)} outputs instead of {len(found)}")
        for name, value in zip(node.outputs, found, strict=False):
            count = _checked(call, value)
            largest, total = max(largest, count), total + count
            if name:
                values[name] = value
        work += call.work
        if total > MAX_TOTAL_ELEMENTS or work > MAX_WORK:
            raise GateError(
                f"for one picture it needs more than {MAX_TOTAL_ELEMENTS:,} numbers or "
                f"{MAX_WORK:,} multiplications"
            )
    return Prediction(
        operators=dict(Counter(node.op for node in model.nodes)),
        largest=largest,
        total=total,
        work=work,
        outputs={name: values[name].shape for name in model.outputs},
    )


def _checked(call: Call, value: Value) -> int:
    """Numbers of an output of that node."""
    if len(value.shape) > MAX_RANK or min(value.shape, default=0) < 0:
        raise call.refuse(f"makes a value of the impossible shape {value.shape}")
    count = math.prod(value.shape)
    if count > MAX_ELEMENTS:
        raise call.refuse(
            f"makes a value of shape {value.shape}, more than the {MAX_ELEMENTS:,} numbers allowed"
        )
    return count
