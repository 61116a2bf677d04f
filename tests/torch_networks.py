"""Networks of single operators, for the torch backend's tests."""

from __future__ import annotations

from typing import Any

import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper


def network(nodes: list[Any], opset: int = 17, **constants: NDArray[Any]) -> bytes:
    """A network from `image` (N, 3, H, W) to `layer2`."""
    graph = helper.make_graph(
        nodes,
        "made",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3, "H", "W"])],
        [helper.make_tensor_value_info("layer2", TensorProto.FLOAT, ["N", "C", "h", "w"])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    imports = [helper.make_opsetid("", opset)]
    model = helper.make_model(graph, opset_imports=imports, ir_version=8)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def node(op: str, *inputs: str, out: str = "layer2", **attributes: Any) -> Any:
    return helper.make_node(op, list(inputs), [out], **attributes)
