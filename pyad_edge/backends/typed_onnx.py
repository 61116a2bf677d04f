"""A float32 ONNX network with its types lowered: for runtimes that compute in the types they read.

TensorRT-RTX, and TensorRT's strongly typed networks, know no flag for half precision: the network
itself says it. Input and outputs stay float32; what computes sizes is left alone.
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
    """The network in another precision.

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
        self._nodes: list[Any] = []

    def apply(self) -> None:
        graph, helper = self._graph, self._onnx.helper
        inputs = [value.name for value in graph.input if value.name not in self._weights]
        outputs = [value.name for value in graph.output]
        moved = {name: name + self._suffix for name in (*inputs, *outputs)}
        for name in inputs:
            self._nodes.append(helper.make_node("Cast", [name], [moved[name]], to=self._type))
        for node in graph.node:
            if node.op_type == "Shape" or all(n in self._fixed for n in node.input if n):
                self._fixed.update(node.output)
                sources = [moved.get(name, name) for name in node.input]
            else:
                sources = [
                    self._fixed_input(node.op_type, position, name)
                    if name in self._fixed
                    else moved.get(name, name)
                    for position, name in enumerate(node.input)
                ]
                for attribute in node.attribute:
                    if node.op_type == "Cast" and attribute.name == "to" and attribute.i == _FLOAT:
                        attribute.i = self._type
            targets = [moved.get(name, name) for name in node.output]
            del node.input[:], node.output[:]
            node.input.extend(sources)
            node.output.extend(targets)
            self._nodes.append(node)
        for name in outputs:
            self._nodes.append(helper.make_node("Cast", [moved[name]], [name], to=_FLOAT))
        nodes = [self._onnx.NodeProto.FromString(n.SerializeToString()) for n in self._nodes]
        del graph.node[:], graph.value_info[:]
        graph.node.extend(nodes)
        used = {name for node in nodes for name in node.input}
        kept = [tensor for tensor in graph.initializer if tensor.name in used]
        kept = [self._onnx.TensorProto.FromString(t.SerializeToString()) for t in kept]
        del graph.initializer[:]
        graph.initializer.extend(kept)

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
