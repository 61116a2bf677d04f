"""bf16 where the processor has none: a pipeline's graph in float32 that rounds as bf16 would.

Every value that a network in bf16 holds is rounded to bf16 where it is computed; sums run in
float32, as they do inside the instructions of processors that have them. OpenVINO itself computes
such a network in float32 from rounded weights there, which says nothing about bf16.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from pyad_edge.export.targets.forms import OnnxForm

__all__ = ["bf16_form", "has_bf16", "rounding"]

BF16, FLOAT = TensorProto.BFLOAT16, TensorProto.FLOAT


def has_bf16() -> bool:
    """Whether OpenVINO's CPU computes in bf16 here."""
    from pyad_edge.backends.openvino import load_openvino

    return "BF16" in load_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def bf16_form(graph: Any, *, threads: int) -> OnnxForm:
    """A pipeline's graph with networks in bf16, emulated in ONNX Runtime."""
    form = OnnxForm(rounding(graph).SerializeToString(), threads=threads)
    form.about = {**form.about, "emulates": "bf16"}
    return form


def rounding(model: Any) -> Any:
    """The same graph with every bf16 value as a float32 that was rounded to bf16."""
    model = onnx.ModelProto.FromString(model.SerializeToString())
    low: set[str] = set()
    for tensor in model.graph.initializer:
        if tensor.data_type == BF16:
            low.add(tensor.name)
            bits = np.frombuffer(tensor.raw_data, "<u2").astype(np.uint32) << 16
            wide = bits.view(np.float32).reshape(tuple(tensor.dims))
            tensor.CopyFrom(numpy_helper.from_array(wide, tensor.name))
    nodes = []
    for node in model.graph.node:  # in an order in which they can run
        copy = onnx.NodeProto.FromString(node.SerializeToString())
        nodes.append(copy)
        rounds = bool(low.intersection(node.input)) and node.op_type != "Shape"
        if node.op_type == "Cast":
            (to,) = (attribute for attribute in copy.attribute if attribute.name == "to")
            rounds = to.i == BF16
            to.i = FLOAT if rounds else to.i
        for position, name in enumerate(node.output if rounds else ()):
            low.add(name)
            copy.output[position] = f"{name}/exact"
            nodes.append(helper.make_node("Cast", [f"{name}/exact"], [f"{name}/b"], to=BF16))
            nodes.append(helper.make_node("Cast", [f"{name}/b"], [name], to=FLOAT))
    del model.graph.node[:], model.graph.value_info[:]
    model.graph.node.extend(nodes)
    return model
