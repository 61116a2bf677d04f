"""Models of one operator, to compare the gate's shapes with those that ONNX Runtime makes."""

from __future__ import annotations

from typing import Any

import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

__all__ = ["model_of", "network_of"]


def network_of(
    nodes: list[onnx.NodeProto],
    outputs: list[str],
    weights: dict[str, NDArray[Any]] | None = None,
    *,
    opset: int = 17,
    rank: int = 4,
    kind: int = TensorProto.FLOAT,
) -> onnx.ModelProto:
    """A model with the input ``x`` of any size and these nodes."""
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "g",
        [value("x", kind, [f"d{n}" for n in range(rank)])],
        [helper.make_empty_tensor_value_info(name) for name in outputs],
        [numpy_helper.from_array(array, name) for name, array in (weights or {}).items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def model_of(
    op: str,
    *inputs: NDArray[Any] | None,
    outputs: int = 1,
    opset: int = 17,
    **attributes: Any,
) -> bytes:
    """One node whose first input is the picture ``x``, the others weights; None leaves one out."""
    weights = {f"w{n}": array for n, array in enumerate(inputs) if array is not None}
    names = ["x", *(f"w{n}" if array is not None else "" for n, array in enumerate(inputs))]
    made = [f"y{n}" for n in range(outputs)]
    node = helper.make_node(op, names, made, **attributes)
    return bytes(network_of([node], made, weights, opset=opset).SerializeToString())
