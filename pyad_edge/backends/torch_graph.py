"""An ONNX network as a list of torch calls for one input size.

What depends on the input's size alone (the arithmetic that "same" padding is exported as) is
computed once, when the list is made: a run calls nothing but the operators that touch pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from pyad_edge.backends._common import METADATA_KEY, Shape, read_metadata, require_package
from pyad_edge.backends.torch_branches import branches
from pyad_edge.backends.torch_operators import OPERATORS, UnsupportedError
from pyad_edge.errors import BackendError

__all__ = ["Network", "Plan", "load_network"]

_FLOAT = 1  # onnx.TensorProto.FLOAT


@dataclass(frozen=True)
class _Node:
    operator: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    call: Callable[..., Any]


@dataclass(frozen=True, eq=False)
class Network:
    """A network read from ONNX bytes.

    Attributes:
        input: name of its input.
        shape: (N, 3, H, W) as declared; None where any size will do.
        outputs: names of all its outputs.
        metadata: what the file says about its backbone.
        nodes: in an order in which they can run.
        constants: initializers by name, as CPU tensors.
    """

    input: str
    shape: Shape
    outputs: tuple[str, ...]
    metadata: dict[str, Any]
    nodes: tuple[_Node, ...] = field(repr=False)
    constants: dict[str, Any] = field(repr=False)


def load_network(model: bytes, *, torch: Any) -> Network:
    """Read ONNX bytes as data.

    Raises:
        BackendError: if the package onnx is missing, the bytes are no ONNX file with its weights
            inside, the input is not one float32 picture, or an operator is not known here.
    """
    onnx = require_package("onnx", extra="torch", op="torch")
    try:
        proto = onnx.load_model_from_string(model)
        graph = proto.graph
        constants = {
            tensor.name: torch.from_numpy(onnx.numpy_helper.to_array(tensor).copy())
            for tensor in graph.initializer
        }
    except Exception as error:  # protobuf's own classes, and whatever broken bytes lead to
        raise BackendError(
            f"[torch] cannot read a network of {len(model)} bytes: {type(error).__name__}. It must "
            "be a complete ONNX file, weights inside; `pyad-edge backbone export` writes such."
        ) from error
    inputs = [value for value in graph.input if value.name not in constants]
    metadata = {entry.key: entry.value for entry in proto.metadata_props}.get(METADATA_KEY)
    return Network(
        inputs[0].name if inputs else "",
        _input_shape(inputs),
        tuple(value.name for value in graph.output),
        read_metadata("torch", metadata),
        tuple(_node(onnx, torch, node) for node in graph.node),
        constants,
    )


class Plan:
    """The calls of one network for one input size, device and type.

    Args:
        network: to run.
        example: (N, 3, H, W) tensor on the device, of the type to compute in.
        outputs: names wanted.
        torch: the package.
        constants: cache of constants that were moved to the device, shared by plans.

    Attributes:
        branches: which steps may run side by side.
    """

    def __init__(
        self,
        network: Network,
        example: Any,
        outputs: Sequence[str],
        *,
        torch: Any,
        constants: dict[str, Any],
    ) -> None:
        self._input, self._outputs = network.input, tuple(outputs)
        self._steps: list[tuple[Callable[..., Any], list[tuple[str, Any]], tuple[str, ...]]] = []
        self._free: list[tuple[str, ...]] = []
        known = dict(network.constants)  # depends on the input's size alone
        values = {network.input: example}
        needed = _needed(network, self._outputs)
        for node in network.nodes:
            if not needed.intersection(node.outputs):
                continue
            if node.operator == "Shape" or all(n in known for n in node.inputs if n):
                arguments = [known.get(n, values.get(n)) if n else None for n in node.inputs]
                known[node.outputs[0]] = node.call(*arguments)
                continue
            bound = [
                (name, self._placed(name, known[name], node, example, constants, torch))
                if name in known
                else (name, None)
                for name in node.inputs
            ]
            found = node.call(*(values[n] if v is None and n else v for n, v in bound))
            values[node.outputs[0]] = found
            self._steps.append((node.call, bound, node.outputs))
        last = {n: i for i, (_, bound, _) in enumerate(self._steps) for n, v in bound if v is None}
        self._free = [
            tuple(n for n, at in last.items() if at == i and n and n not in self._outputs)
            for i in range(len(self._steps))
        ]
        pictures = {n for n, value in values.items() if value.ndim == 4 and value.shape[1] == 3}
        reads = [tuple(n for n, v in bound if v is None and n) for _, bound, _ in self._steps]
        self.branches = branches(self._input, pictures, reads, [s[2] for s in self._steps])

    def __call__(self, batch: Any) -> list[Any]:
        """Run the network; the outputs wanted, in their order, of the type computed in."""
        values = {self._input: batch}
        for (call, bound, outputs), free in zip(self._steps, self._free, strict=True):
            values[outputs[0]] = call(*(values[n] if v is None and n else v for n, v in bound))
            for name in free:
                del values[name]
        return [values[name] for name in self._outputs]

    def run_on(self, batch: Any, streams: Sequence[Any], *, torch: Any) -> list[Any]:
        """The same with each branch on a stream of its own; the first one waits for the others.

        What crosses streams is kept to the end: freed before, its memory could be written by the
        stream that made it while the other one still reads.

        Args:
            batch: made on the current stream.
            streams: as many as ``branches.count``; the current one first.
            torch: the package.
        """
        plan = self.branches
        values = {self._input: batch}
        made: dict[str, Any] = {self._input: streams[0].record_event()}
        for i, (call, bound, outputs) in enumerate(self._steps):
            stream = streams[plan.stream_of[i]]
            with torch.cuda.stream(stream):
                for name in plan.waits[i]:
                    stream.wait_event(made[name])
                values[outputs[0]] = call(*(values[n] if v is None and n else v for n, v in bound))
                if outputs[0] in plan.crossing:
                    made[outputs[0]] = stream.record_event()
            for name in self._free[i]:
                if name not in plan.crossing:
                    del values[name]
        for stream in streams[1:]:
            streams[0].wait_stream(stream)
        return [values[name] for name in self._outputs]

    @staticmethod
    def _placed(
        name: str, value: Any, node: _Node, example: Any, cache: dict[str, Any], torch: Any
    ) -> Any:
        """A constant where a pixel operator takes it: weights on the device, sizes on the host."""
        if not value.is_floating_point() or (node.operator == "Resize" and value.ndim == 1):
            return value
        if value.ndim == 0 and node.operator in ("Clip", "Pad"):
            return float(value)
        if name not in cache:
            moved = value.to(device=example.device, dtype=example.dtype)
            if moved.ndim == 4:
                moved = moved.contiguous(memory_format=torch.channels_last)
            cache[name] = moved
        return cache[name]


def _needed(network: Network, outputs: Sequence[str]) -> set[str]:
    """Names that the outputs depend on: a head that nobody asked for is not run."""
    needed = set(outputs)
    for node in reversed(network.nodes):
        if needed.intersection(node.outputs):
            needed.update(node.inputs)
    return needed


def _node(onnx: Any, torch: Any, node: Any) -> _Node:
    entry = OPERATORS.get(node.op_type) if node.domain in ("", "ai.onnx") else None
    label = node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}.{node.op_type}"
    if entry is None or len(node.output) != 1:
        raise _refused(label, node.name)
    attributes = {}
    for attribute in node.attribute:
        value = onnx.helper.get_attribute_value(attribute)
        if isinstance(value, onnx.TensorProto):
            value = onnx.numpy_helper.to_array(value).copy()
        attributes[attribute.name] = value.decode() if isinstance(value, bytes) else value
    try:
        call = entry(torch, attributes)
    except UnsupportedError as error:
        raise _refused(f"{label} with {error}", node.name) from error
    return _Node(node.op_type, tuple(node.input), tuple(node.output), call)


def _refused(label: str, name: str) -> BackendError:
    return BackendError(
        f"[torch] the network uses {label} (node {name!r}), which this backend does not run. Use "
        "the backend onnxruntime or openvino, or export the backbone without it."
    )


def _input_shape(inputs: Sequence[Any]) -> Shape:
    kinds = [value.type.tensor_type for value in inputs]
    if len(kinds) == 1 and kinds[0].elem_type == _FLOAT and len(kinds[0].shape.dim) == 4:
        n, c, h, w = (d.dim_value or None for d in kinds[0].shape.dim)
        if c in (3, None):
            return n, 3, h, w
    raise BackendError(
        "[torch] expected a network with one float32 input of shape (N, 3, H, W), got "
        f"{', '.join(value.name for value in inputs) or 'none'}. Export the backbone for RGB "
        "pictures in float32."
    )
