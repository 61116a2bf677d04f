"""An ONNX network as nodes and weights, read as data: no ONNX package, no foreign parser."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyad_edge.backends._common import METADATA_KEY, Shape, read_metadata
from pyad_edge.errors import BackendError
from pyad_edge.onnx_gate.errors import GateError
from pyad_edge.onnx_gate.model import Model, Node, read_model
from pyad_edge.onnx_gate.schema import Message, read_message
from pyad_edge.onnx_gate.tensors import Tensor
from pyad_edge.onnx_gate.wire import Wire

__all__ = ["Graph", "read_graph"]

_FLOAT = 1  # onnx.TensorProto.FLOAT


@dataclass(frozen=True, eq=False)
class Graph:
    """What the native backend needs of a network.

    Attributes:
        input: name of its input.
        shape: (N, 3, H, W) as declared; None where any size will do.
        outputs: names that may be asked for.
        metadata: what the file says about its backbone.
        nodes: in an order in which they can run.
        constants: weights, and what Constant nodes hold, by name.
    """

    input: str
    shape: Shape
    outputs: tuple[str, ...]
    metadata: Mapping[str, Any]
    nodes: tuple[Node, ...]
    constants: Mapping[str, NDArray[Any]]


def read_graph(model: bytes) -> Graph:
    """Read an ONNX file.

    Raises:
        BackendError: if it is none, or its input is not one float32 picture.
    """
    view = memoryview(model)
    try:
        read = read_model(view)
        wire = Wire(view)
        message = read_message(wire, "Model", 0, len(view))
        constants = _constants(read, wire, message["graph"])
    except GateError as error:
        raise BackendError(
            f"[native] cannot read a network of {len(model)} bytes: {error}. It must be a complete "
            "ONNX file, weights inside; `pyad-edge backbone export` writes such a file."
        ) from error
    if len(read.inputs) != 1 or len(shape := next(iter(read.inputs.values()))) != 4:
        raise BackendError(
            f"[native] expected a network with one input (N, 3, H, W), got {dict(read.inputs)}. "
            "`pyad-edge backbone export` writes such a file."
        )
    entries = {entry.get("key"): entry.get("value") for entry in message.get("metadata_props", [])}
    return Graph(
        next(iter(read.inputs)),
        (shape[0], shape[1], shape[2], shape[3]),
        read.outputs,
        read_metadata("native", entries.get(METADATA_KEY)),
        read.nodes,
        constants,
    )


def _constants(read: Model, wire: Wire, graph: Message) -> dict[str, NDArray[Any]]:
    """The gate keeps the numbers of small tensors; those of float32 weights lie in the file."""
    found = {
        name: tensor.values
        for name, tensor in read.initializers.items()
        if tensor.values is not None
    }
    for entry in graph.get("initializer", []):
        data = entry.get("raw_data", entry.get("float_data"))
        if entry.get("data_type") == _FLOAT and data is not None:
            numbers = np.frombuffer(wire.data[data[0] : data[1]], "<f4").astype(np.float32)
            found[entry["name"]] = numbers.reshape(entry.get("dims", ()))
    for node in read.nodes:
        value = node.attributes.get("value")
        if node.op == "Constant" and isinstance(value, Tensor) and value.values is not None:
            found[node.outputs[0]] = value.values
    return found
