"""Parts of graphs as models of their own, and what their tensors hold."""

from __future__ import annotations

import math
from typing import Any

import onnx
from onnx import TensorProto, helper

from pyad_edge.export.targets.onnx_pipeline.graph import GraphBuilder

__all__ = ["built", "largest_tensor"]


def built(graph: GraphBuilder, inputs: dict[str, tuple[int, ...]], outputs: dict[str, int]) -> Any:
    """A model of float32 inputs of these shapes, and outputs of these element types."""
    given = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in inputs.items()]
    made = [helper.make_tensor_value_info(n, kind, None) for n, kind in outputs.items()]
    return helper.make_model(
        helper.make_graph(graph.nodes, "part", given, made, graph.constants),
        opset_imports=[helper.make_opsetid("", graph.opset)],
        ir_version=8,
    )


def largest_tensor(model: Any) -> int:
    """Numbers of the largest tensor that a graph computes; every shape must be known."""
    inferred = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True)
    shapes = {v.name: v.type.tensor_type.shape.dim for v in inferred.graph.value_info}
    shapes |= {v.name: v.type.tensor_type.shape.dim for v in inferred.graph.output}
    made = [name for node in inferred.graph.node for name in node.output]
    for name in made:
        assert all(d.dim_value > 0 for d in shapes[name]), f"{name} has no known shape"
    return max(math.prod(d.dim_value for d in shapes[name]) for name in made)
