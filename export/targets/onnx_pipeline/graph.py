"""Nodes and constants of an ONNX graph, named in order, each made once."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

__all__ = ["MAX_BYTES", "GraphBuilder"]

MAX_BYTES = (1 << 31) - (64 << 20)  # of constants: a protobuf file has less than 2 GB, with nodes
_AXES_ARE_INPUTS = {"ReduceSum": 13}  # from this opset on; of the other reductions from 18 on


class GraphBuilder:
    """Collects a graph of standard operators.

    Values are referred to by name. A node that repeats another one's operator, inputs and
    attributes is not made again, nor is a constant of the same bytes: what members of an ensemble
    share is computed once.

    Args:
        opset: of ``ai.onnx``.

    Attributes:
        nodes, constants: in the order in which they were made.
    """

    def __init__(self, opset: int) -> None:
        self.opset = opset
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self._made: dict[tuple[Any, ...], str] = {}
        self._scope = ""
        self._count = 0

    @contextmanager
    def scope(self, name: str) -> Iterator[None]:
        """Names of what is made inside begin with ``name/``."""
        before, self._scope = self._scope, f"{self._scope}{name}/"
        yield
        self._scope = before

    def constant(self, values: NDArray[Any] | float | Sequence[int], name: str = "constant") -> str:
        """A constant: arrays as they are, Python floats as float32, whole numbers as int64."""
        array = np.asarray(values)
        if not isinstance(values, np.ndarray):
            array = array.astype(np.float32 if array.dtype.kind == "f" else np.int64)
        content = hashlib.sha256(array.tobytes()).digest()
        key = ("constant", array.dtype.str, array.shape, content)
        if key not in self._made:
            self._made[key] = self._name(name)
            # numpy_helper keeps the shape of a scalar, which ascontiguousarray would not.
            self.constants.append(numpy_helper.from_array(array.copy(order="C"), self._made[key]))
        return self._made[key]

    def op(self, kind: str, *inputs: str, name: str | None = None, **attributes: Any) -> str:
        """The first output of a node.

        Args:
            kind: operator.
            inputs: names.
            name: of the output; none: one is made of the operator.
            attributes: of the node.
        """
        key = (kind, inputs, repr(sorted(attributes.items())))
        if name is not None or key not in self._made:
            output = name or self._name(kind)
            node = helper.make_node(kind, list(inputs), [output], name=output, **attributes)
            self.nodes.append(node)
            self._made.setdefault(key, output)
            return output
        return self._made[key]

    def reduce(self, kind: str, value: str, axes: Sequence[int], *, keepdims: bool = False) -> str:
        """``ReduceMax`` and its like, whose axes were attributes before they were inputs."""
        keep = int(keepdims)
        if self.opset >= _AXES_ARE_INPUTS.get(kind, 18):
            return self.op(kind, value, self.constant(list(axes), "axes"), keepdims=keep)
        return self.op(kind, value, axes=list(axes), keepdims=keep)

    def slice(self, value: str, axis: int, begin: int, end: int) -> str:
        """Entries [begin, end) along one axis."""
        bounds = [self.constant([number], "at") for number in (begin, end, axis)]
        return self.op("Slice", value, *bounds)

    def reshape(self, value: str, shape: Sequence[int]) -> str:
        """The same numbers in another shape; one side may be -1."""
        return self.op("Reshape", value, self.constant(list(shape), "shape"))

    def inline(
        self, graph: Any, *, prefix: str, feeds: dict[str, str], outputs: Sequence[str]
    ) -> list[str]:
        """Another graph's nodes and weights, all names with a prefix.

        Args:
            graph: of the same opset, without control flow.
            prefix: of its names.
            feeds: values of ours by its inputs' names.
            outputs: that are wanted.

        Returns:
            Our names of these.
        """

        def renamed(name: str) -> str:
            return feeds.get(name, f"{prefix}/{name}") if name else ""

        for tensor in graph.initializer:
            own = onnx.TensorProto()
            own.CopyFrom(tensor)
            own.name = renamed(tensor.name)
            self.constants.append(own)
        for number, node in enumerate(graph.node):
            own = onnx.NodeProto()
            own.CopyFrom(node)
            own.name = f"{prefix}/{number}"
            for values in (own.input, own.output):
                names = [renamed(name) for name in values]
                del values[:]
                values.extend(names)
            self.nodes.append(own)
        return [renamed(name) for name in outputs]

    def used(self, outputs: Sequence[str]) -> tuple[list[Any], list[Any]]:
        """Nodes and constants that these outputs depend on, in order."""
        wanted = set(outputs)
        nodes = []
        for node in reversed(self.nodes):
            if wanted & set(node.output):
                wanted.update(node.input)
                nodes.append(node)
        return nodes[::-1], [constant for constant in self.constants if constant.name in wanted]

    def _name(self, kind: str) -> str:
        self._count += 1
        return f"{self._scope}{kind}_{self._count}"
