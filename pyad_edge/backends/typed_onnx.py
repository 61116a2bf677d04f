"""A float32 ONNX network with its types lowered: for runtimes that compute in the types they read.

TensorRT-RTX, and TensorRT's strongly typed networks, know no flag for half precision: the network
itself says it. Input and outputs stay float32; what computes sizes is left alone, and in bf16 so
are transformers.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyad_edge.backends._common import require_package
from pyad_edge.errors import BackendError

__all__ = ["lowered"]

_FLOAT = 1  # TensorProto.FLOAT
_TYPES = {"fp16": 10, "bf16": 16}
_FLOAT32_INPUTS = {("Resize", 1), ("Resize", 2)}  # regions and scales have their own type


def lowered(model: bytes, precision: str) -> bytes:
    """The network in another precision; in bf16 a transformer in it stays float32.

    Args:
        model: bytes of an ONNX file, float32, weights inside.
        precision: ``fp32`` (as it is), ``fp16`` or ``bf16``.

    Raises:
        BackendError: if the package onnx is missing, the bytes cannot be read, or a weight is
            beyond the type's range.
    """
    if precision == "fp32":
        return model
    onnx = require_package("onnx", extra="torch", op="typed_onnx")
    try:
        proto = onnx.shape_inference.infer_shapes(onnx.load_model_from_string(model))
    except Exception as error:  # protobuf's own classes, and whatever broken bytes lead to
        raise BackendError(
            f"[typed_onnx] cannot read a network of {len(model)} bytes: {type(error).__name__}. It "
            "must be a complete ONNX file, weights inside."
        ) from error
    _Lowering(onnx, proto, precision).apply()
    return bytes(proto.SerializeToString())


def _exact(graph: Any, precision: str) -> frozenset[str]:
    """Values that stay float32: in bf16 those of a transformer, from its first matrix product on.

    Its scores are small differences and ratios (FOD: feature minus reconstruction, softmax over
    softmax), of which the 8 bits of bf16 leave little. fp16 has 11.
    """
    found: set[str] = set()
    for node in graph.node if precision == "bf16" else ():  # in an order in which they can run
        if node.op_type == "MatMul" or found.intersection(node.input):
            found.update(node.output)
    return frozenset(found)


class _Lowering:
    def __init__(self, onnx: Any, proto: Any, precision: str) -> None:
        self._onnx, self._graph = onnx, proto.graph
        self._type, self._suffix = _TYPES[precision], f"_{precision}"
        self._weights = {tensor.name: tensor for tensor in self._graph.initializer}
        known = [*self._graph.value_info, *self._graph.input, *self._graph.output]
        self._types = {value.name: value.type.tensor_type.elem_type for value in known}
        self._types |= {name: tensor.data_type for name, tensor in self._weights.items()}
        self._fixed = set(self._weights)  # depends on no pixel
        self._made: dict[str, str] = {}  # lowered names of fixed values
        pictures = {value.name for value in self._graph.input}
        self._wide = _exact(self._graph, precision) | pictures  # values that are float32
        self._other: dict[str, str] = {}  # name of a value in the type that it was not computed in
        self._moved: dict[str, str] = {}  # name under which an output is computed
        self._nodes: list[Any] = []

    def apply(self) -> None:
        graph = self._graph
        outputs = [value.name for value in graph.output]
        for node in graph.node:
            fixed = node.op_type == "Shape" or all(n in self._fixed for n in node.input if n)
            wide = fixed or bool(self._wide.intersection(node.output))
            if fixed:
                self._fixed.update(node.output)
            else:
                ends = [n for n in node.output if n in outputs and not wide and self._is_float(n)]
                self._moved |= {name: name + self._suffix for name in ends}
            sources = [
                self._moved.get(name, name)
                if fixed
                else self._input(node.op_type, position, name, wide=wide)
                for position, name in enumerate(node.input)
            ]
            for attribute in () if wide else node.attribute:
                if node.op_type == "Cast" and attribute.name == "to" and attribute.i == _FLOAT:
                    attribute.i = self._type
            targets = [self._moved.get(name, name) for name in node.output]
            del node.input[:], node.output[:]
            node.input.extend(sources)
            node.output.extend(targets)
            self._nodes.append(node)
        for name in outputs:
            self._value(name, wide=True)
        nodes = [self._onnx.NodeProto.FromString(n.SerializeToString()) for n in self._nodes]
        del graph.node[:], graph.value_info[:]
        graph.node.extend(nodes)
        used = {name for node in nodes for name in node.input}
        kept = [tensor for tensor in graph.initializer if tensor.name in used]
        kept = [self._onnx.TensorProto.FromString(t.SerializeToString()) for t in kept]
        del graph.initializer[:]
        graph.initializer.extend(kept)

    def _is_float(self, name: str) -> bool:
        return bool(self._types.get(name, _FLOAT) == _FLOAT)

    def _input(self, operator: str, position: int, name: str, *, wide: bool) -> str:
        """The name under which an operator finds an input in its own type."""
        if name in self._fixed:
            return name if wide else self._fixed_input(operator, position, name)
        return self._value(name, wide=wide) if name else name

    def _value(self, name: str, *, wide: bool) -> str:
        """The name of a value in float32, or in the lower type; cast once, where it lacks it."""
        own = self._moved.get(name, name)
        if wide == (name in self._wide) or not self._is_float(name):
            return own
        if name not in self._other:
            suffix = "_fp32" if wide else self._suffix
            target = self._other[name] = name if own != name else name + suffix
            to = _FLOAT if wide else self._type
            self._nodes.append(self._onnx.helper.make_node("Cast", [own], [target], to=to))
        return self._other[name]

    def _fixed_input(self, operator: str, position: int, name: str) -> str:
        """The name under which a pixel operator finds a weight or a computed number."""
        if not name or (operator, position) in _FLOAT32_INPUTS or self._types.get(name) != _FLOAT:
            return name
        if name not in self._made:
            self._made[name] = target = name + self._suffix
            if name in self._weights:
                values = self._onnx.numpy_helper.to_array(self._weights[name])
                self._graph.initializer.append(self._tensor(target, values))
            else:
                cast = self._onnx.helper.make_node("Cast", [name], [target], to=self._type)
                self._nodes.append(cast)
        return self._made[name]

    def _tensor(self, name: str, values: NDArray[np.float32]) -> Any:
        if self._type == _TYPES["fp16"]:
            with np.errstate(over="ignore"):
                half = values.astype(np.float16)
            if not np.isfinite(half).all():
                raise BackendError(
                    f"[typed_onnx] the weight {name!r} reaches {np.abs(values).max():.3g}, beyond "
                    "fp16. Use bf16 or fp32."
                )
            raw = half.tobytes()
        else:
            bits = np.ascontiguousarray(values, np.float32).view(np.uint32).astype(np.uint64)
            raw = ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype("<u2").tobytes()
        tensor = self._onnx.TensorProto(name=name, data_type=self._type, raw_data=raw)
        tensor.dims.extend(values.shape)
        return tensor
