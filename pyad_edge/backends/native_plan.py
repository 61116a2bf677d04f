"""A network's nodes as steps of the native module; what follows a convolution is fused into it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyad_edge.backends.native_graph import Graph
from pyad_edge.errors import BackendError
from pyad_edge.onnx_gate.model import Node
from pyad_edge.ops._native import native

__all__ = ["OPERATORS", "build_network"]

OPERATORS = (
    "Add",
    "AveragePool",
    "BatchNormalization",
    "Clip",
    "Constant",
    "Conv",
    "Identity",
    "MaxPool",
    "Relu",
)
_FREE = (-math.inf, math.inf)  # nothing is clipped
_MAX_WINDOW, _MAX_STRIDE = 64, 16

Array = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class _Convolution:
    """A convolution with what is fused into it."""

    source: int
    weights: Array  # (K, C, P, Q)
    bias: Array  # (K,)
    windows: tuple[int, ...]
    residual: int = -1
    clip: tuple[float, float] = _FREE


def build_network(
    graph: Graph, outputs: Sequence[str], size: tuple[int, int], *, bf16: bool = False
) -> tuple[Any, list[int]]:
    """The native network for pictures of one size, and the tensors of the outputs.

    Args:
        graph: of the backbone.
        outputs: names wanted.
        size: (H, W) of the pictures.
        bf16: whether factors of products are rounded to bfloat16.

    Raises:
        BackendError: if an operator, or a form of it, is not one that the native module runs.
    """
    return _Builder(graph, outputs, size, bf16).build()


class _Builder:
    def __init__(
        self, graph: Graph, outputs: Sequence[str], size: tuple[int, int], bf16: bool
    ) -> None:
        self._graph, self._outputs, self._size = graph, tuple(outputs), size
        channels = graph.shape[1] or 3
        self._network = native.ConvolutionNetwork(channels, *size, bf16)
        self._tensors = {graph.input: 0}
        self._constants = dict(graph.constants)
        self._nodes = _needed(graph, outputs)
        self._readers = Counter(name for node in self._nodes for name in node.inputs)
        self._readers.update(self._outputs)
        self._fused: set[str] = set()  # titles of nodes that became part of a step before them

    def build(self) -> tuple[Any, list[int]]:
        for node in self._nodes:
            if node.title in self._fused or node.op == "Constant":
                continue
            if node.op == "Identity" and node.inputs[0] in self._constants:
                # Exporters keep equal weights once, and give them their other names so.
                self._constants[node.outputs[0]] = self._constants[node.inputs[0]]
                continue
            if node.op not in OPERATORS:
                raise _refusal(node, f"it runs {', '.join(OPERATORS)}")
            try:
                self._tensors[node.outputs[0]] = self._step(node)
            except ValueError as error:
                raise _refusal(node, str(error).rstrip(".")) from error
        return self._network, [self._tensors[name] for name in self._outputs]

    def _step(self, node: Node) -> int:
        match node.op:
            case "Conv":
                return self._convolution(node)
            case "Identity":
                return self._tensor(node, 0)
            case "Relu" | "Clip":
                clip = self._clip(node)
                return int(self._network.add(self._tensor(node, 0), -1, *clip))
            case "Add":
                a, b = self._tensor(node, 0), self._tensor(node, 1)
                return int(self._network.add(a, b, *_FREE))
            case "MaxPool":
                return int(self._network.maximum(self._tensor(node, 0), _windows(node)))
            case "AveragePool":
                counted = bool(node.attributes.get("count_include_pad", 0))
                return int(self._network.average(self._tensor(node, 0), _windows(node), counted))
            case _:
                raise ValueError("it takes a batch norm right behind a convolution only")

    def _convolution(self, node: Node) -> int:
        weights = self._constant(node, 1)
        if node.attributes.get("group", 1) != 1 or weights.ndim != 4:
            raise ValueError("it takes convolutions of two axes with one group")
        bias = self._constant(node, 2) if len(node.inputs) > 2 and node.inputs[2] else None
        step = _Convolution(
            self._tensor(node, 0),
            weights,
            np.zeros(len(weights), np.float32) if bias is None else bias,
            _windows(node, (weights.shape[2], weights.shape[3])),
        )
        height, width = self._output_size(step)
        name = node.outputs[0]
        # Only what nobody else reads can be replaced by what follows.
        while self._readers[name] == 1 and step.clip == _FREE:
            follower = next((n for n in self._nodes if name in n.inputs), None)
            fused = None if follower is None else self._fuse(step, follower, name, (height, width))
            if fused is None or follower is None:
                break
            step = fused
            self._fused.add(follower.title)
            name = follower.outputs[0]
        tensor = int(
            self._network.convolution(
                step.source,
                np.ascontiguousarray(step.weights),
                np.ascontiguousarray(step.bias),
                step.windows,
                step.residual,
                *step.clip,
                "automatic",
            )
        )
        self._tensors[name] = tensor
        return tensor

    def _fuse(
        self, step: _Convolution, node: Node, name: str, size: tuple[int, int]
    ) -> _Convolution | None:
        """The convolution with the next node in it; None if it is a step of its own."""
        match node.op:
            case "Relu" | "Clip" if node.inputs[0] == name:
                return replace(step, clip=self._clip(node))
            case "BatchNormalization" if step.residual < 0:
                return self._with_batch_norm(step, node)
            case "Add" if step.residual < 0:
                other = next((n for n in node.inputs if n != name), name)
                tensor = self._tensors.get(other)  # not yet there: it will take this one
                shape = [len(step.weights), *size]
                if tensor is not None and list(self._network.shape(tensor)) == shape:
                    return replace(step, residual=tensor)
        return None

    def _with_batch_norm(self, step: _Convolution, node: Node) -> _Convolution:
        if len(node.outputs) > 1 or node.attributes.get("training_mode", 0):
            raise _refusal(node, "it takes batch norms that do not train")
        scale, shift, mean, variance = (
            self._constant(node, i).astype(np.float64) for i in range(1, 5)
        )
        factor = scale / np.sqrt(variance + node.attributes.get("epsilon", 1e-5))
        return replace(
            step,
            weights=(step.weights * factor[:, None, None, None]).astype(np.float32),
            bias=((step.bias - mean) * factor + shift).astype(np.float32),
        )

    def _clip(self, node: Node) -> tuple[float, float]:
        if node.op == "Relu":
            return 0.0, math.inf
        bounds = [node.attributes.get("min", -math.inf), node.attributes.get("max", math.inf)]
        for i in (1, 2):  # from opset 11 on they are inputs
            if len(node.inputs) > i and node.inputs[i]:
                bounds[i - 1] = float(self._constant(node, i).reshape(()))
        if not bounds[0] <= bounds[1]:
            raise ValueError(f"it takes Clip from a lower to a higher bound, not {bounds}")
        return bounds[0], bounds[1]

    def _output_size(self, step: _Convolution) -> tuple[int, int]:
        P, Q, down, across, top, left, bottom, right = step.windows
        _, H, W = self._network.shape(step.source)
        return (H + top + bottom - P) // down + 1, (W + left + right - Q) // across + 1

    def _tensor(self, node: Node, index: int) -> int:
        found = self._tensors.get(node.inputs[index])
        if found is None:
            raise ValueError(f"it takes no constant as input {index}")
        return found

    def _constant(self, node: Node, index: int) -> Array:
        found = self._constants.get(node.inputs[index])
        if found is None or found.dtype != np.float32:
            raise ValueError(f"it takes only float32 constants as input {index}")
        return found


def _needed(graph: Graph, outputs: Sequence[str]) -> list[Node]:
    """The nodes that lead to the outputs, in their order."""
    wanted, nodes = set(outputs), []
    for node in reversed(graph.nodes):
        if wanted.intersection(node.outputs):
            nodes.append(node)
            wanted.update(node.inputs)
    return nodes[::-1]


def _windows(node: Node, kernel: tuple[int, int] | None = None) -> tuple[int, ...]:
    """Height and width, strides, and padding: top, left, bottom, right.

    Raises:
        ValueError: if they have a form that is not known.
    """
    about = node.attributes
    shape = tuple(about.get("kernel_shape", kernel or ()))
    strides = tuple(about.get("strides", (1, 1)))
    pads = tuple(about.get("pads", (0, 0, 0, 0)))
    mode = about.get("auto_pad", "NOTSET")
    if mode not in ("NOTSET", "VALID"):
        raise ValueError(f"it takes written paddings, not auto_pad={mode}")
    if any(d != 1 for d in about.get("dilations", ())) or about.get("ceil_mode", 0):
        raise ValueError("it takes neither dilations nor ceil_mode")
    if len(node.outputs) > 1 and node.outputs[1]:
        raise ValueError("it gives no indices of maxima")
    axes = (len(shape), len(strides), len(pads))
    if axes != (2, 2, 4) or (kernel is not None and shape != kernel):
        raise ValueError("it takes windows, strides and paddings of two axes")
    return (*shape, *strides, *((0, 0, 0, 0) if mode == "VALID" else pads))


def _refusal(node: Node, why: str) -> BackendError:
    return BackendError(
        f"[native] cannot run {node.title}: {why}. Choose the backend onnxruntime, openvino or "
        "torch for this network."
    )
