"""An ONNX file as nodes and tensors, each value made once and before it is used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pyad_edge.onnx_gate.errors import GateError
from pyad_edge.onnx_gate.limits import (
    MAX_ATTRIBUTES,
    MAX_INITIALIZERS,
    MAX_NODES,
    MAX_OPSET,
    MIN_OPSET,
)
from pyad_edge.onnx_gate.schema import Message, read_message
from pyad_edge.onnx_gate.tensors import Tensor, read_tensor
from pyad_edge.onnx_gate.wire import Wire

__all__ = ["Model", "Node", "read_model"]

_DOMAINS = ("", "ai.onnx")  # two names of ONNX's own operators
# AttributeProto.AttributeType: the field that holds such a value, and what it is if left out
_TYPES: dict[int, tuple[str, Any]] = {
    1: ("f", 0.0),
    2: ("i", 0),
    3: ("s", ""),
    4: ("t", None),
    6: ("floats", []),
    7: ("ints", []),
}
_NOT_VALUES = {"name", "type", "doc_string"}


@dataclass(frozen=True, eq=False)
class Node:
    """One operator.

    Attributes:
        op: its type, such as ``Conv``.
        inputs: names of values; empty where an optional one is left out.
        outputs: the same.
        attributes: float, int, str, :class:`Tensor`, or a list of floats or ints, by name.
        title: what errors call it.
    """

    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]
    title: str


@dataclass(frozen=True, eq=False)
class Model:
    """A network. Every value has one origin, and nodes come in an order in which they can run.

    Attributes:
        opset: version of ONNX's operators.
        nodes: in the order of the file.
        initializers: weights by name.
        inputs: what has to be fed, without weights that are listed there too: by name the shape
            that the file declares, None for sides that it leaves open; () if it declares none.
        outputs: names.
    """

    opset: int
    nodes: tuple[Node, ...]
    initializers: Mapping[str, Tensor]
    inputs: Mapping[str, tuple[int | None, ...]]
    outputs: tuple[str, ...]


def read_model(data: memoryview) -> Model:
    """Reads an ONNX file without the package onnx.

    Args:
        data: its bytes, one per element.

    Raises:
        GateError: if it is no ONNX file, or has something that a network here may not have.
    """
    wire = Wire(data)
    message = read_message(wire, "Model", 0, len(data))
    if "graph" not in message:
        raise GateError("it is no ONNX file: it has no graph")
    opset = _opset(message)
    graph = message["graph"]
    nodes, tensors = graph.get("node", []), graph.get("initializer", [])
    for what, found, most in (
        ("nodes", nodes, MAX_NODES),
        ("initializers", tensors, MAX_INITIALIZERS),
    ):
        if len(found) > most:
            raise GateError(f"it has {len(found):,} {what}; at most {most:,} are allowed")
    initializers: dict[str, Tensor] = {}
    for entry in tensors:
        tensor = read_tensor(wire, entry)
        if not tensor.name or tensor.name in initializers:
            raise GateError(f"two of its initializers are called '{tensor.name}'")
        initializers[tensor.name] = tensor
    fed = [v for v in graph.get("input", []) if v.get("name", "") not in initializers]
    inputs = {value.get("name", ""): _declared(value) for value in fed}
    if len(inputs) != len(fed) or "" in inputs:
        raise GateError("two of its inputs have one name, or one has none")
    model = Model(
        opset=opset,
        nodes=tuple(_node(wire, n, node) for n, node in enumerate(nodes)),
        initializers=initializers,
        inputs=inputs,
        outputs=tuple(value.get("name", "") for value in graph.get("output", [])),
    )
    _check_order(model)
    return model


def _declared(value: Message) -> tuple[int | None, ...]:
    shape = value.get("type", {}).get("tensor_type", {}).get("shape", {})
    sides = (side.get("dim_value", 0) for side in shape.get("dim", []))
    return tuple(side if side > 0 else None for side in sides)


def _opset(message: Message) -> int:
    versions = []
    for entry in message.get("opset_import", []):
        if entry.get("domain", "") not in _DOMAINS:
            raise GateError(f"it uses operators of the foreign domain '{entry['domain']}'")
        versions.append(entry.get("version", 0))
    if len(versions) != 1:
        raise GateError(f"it names {len(versions)} versions of ONNX's operators instead of one")
    if not MIN_OPSET <= versions[0] <= MAX_OPSET:
        raise GateError(
            f"it uses version {versions[0]} of ONNX's operators; {MIN_OPSET} to {MAX_OPSET} are "
            "known here"
        )
    return int(versions[0])


def _node(wire: Wire, number: int, message: Message) -> Node:
    op = message.get("op_type", "")
    title = f"node {number} ({op})"
    if message.get("domain", "") not in _DOMAINS:
        raise GateError(f"its {title} is of the foreign domain '{message['domain']}'")
    inputs, outputs = tuple(message.get("input", ())), tuple(message.get("output", ()))
    entries = message.get("attribute", [])
    if max(len(inputs), len(outputs), len(entries)) > MAX_ATTRIBUTES or not outputs:
        raise GateError(
            f"its {title} has {len(inputs)} inputs, {len(outputs)} outputs and {len(entries)} "
            f"attributes; at most {MAX_ATTRIBUTES} of each are allowed"
        )
    attributes: dict[str, Any] = {}
    for entry in entries:
        name = entry.get("name", "")
        if name in attributes:
            raise GateError(f"its {title} has the attribute '{name}' twice")
        attributes[name] = _attribute(wire, title, name, entry)
    return Node(op, inputs, outputs, attributes, title)


def _attribute(wire: Wire, title: str, name: str, entry: Message) -> Any:
    field, default = _TYPES.get(entry.get("type", 0), ("", None))
    if not field or entry.keys() - _NOT_VALUES - {field}:
        raise GateError(f"its {title} has an attribute '{name}' that is not what its type says")
    value = entry.get(field, default)
    if field == "t":
        if value is None:
            raise GateError(f"its {title} has an attribute '{name}' without a value")
        return read_tensor(wire, value)
    return value


def _check_order(model: Model) -> None:
    known = {*model.inputs, *model.initializers}
    for node in model.nodes:
        for name in node.inputs:
            if name and name not in known:
                raise GateError(f"its {node.title} takes '{name}', which nothing before it makes")
        for name in node.outputs:
            if name in known:
                raise GateError(f"its {node.title} makes '{name}', which there is already")
            if name:
                known.add(name)
    missing = [name for name in model.outputs if name not in known]
    if missing or not model.outputs:
        raise GateError(f"its output '{(missing or [''])[0]}' is made by nothing in it")
