"""Networks of an engine, as they may stand inside a graph: standard operators of one opset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import version_converter

from pyad_edge.backends.onnxruntime import OnnxRuntimeBackend
from pyad_edge.errors import BackendError
from pyad_edge.export.targets.onnx_pipeline.graph import GraphBuilder
from pyad_edge.export.targets.onnx_pipeline.settings import OPSETS

__all__ = ["InnerNetwork", "common_opset"]

_STANDARD = ("", "ai.onnx")


@dataclass(frozen=True, eq=False)
class InnerNetwork:
    """A network with one input.

    Attributes:
        what: it is, for errors.
        model: its bytes.
        proto: the same, parsed.
    """

    what: str
    model: bytes
    proto: Any

    @classmethod
    def read(cls, model: bytes, what: str) -> InnerNetwork:
        """Parse a network and look at what it is made of.

        Args:
            model: bytes of an ONNX file.
            what: it is, for errors.

        Raises:
            BackendError: if it is no ONNX model, or something in it is not of standard operators.
        """
        try:
            proto = onnx.load_model_from_string(model)
        except Exception as error:  # protobuf's own class
            raise BackendError(
                f"[export onnx] {what} of this engine, {len(model):,} bytes, is no ONNX model. "
                "Export the engine again."
            ) from error
        domains = {entry.domain for entry in proto.opset_import}
        graph = proto.graph
        nested = {
            node.op_type
            for node in graph.node
            for attribute in node.attribute
            if attribute.type in (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS)
        }
        foreign = {node.op_type for node in graph.node if node.domain not in _STANDARD}
        if nested or foreign or graph.sparse_initializer:
            found = ", ".join(sorted(nested | foreign)) or "sparse weights"
            raise BackendError(
                f"[export onnx] {what} of this engine has {found}: a graph for any runtime holds "
                "standard operators of the domain ai.onnx, and no control flow. Export its "
                "backbone without them."
            )
        weights = {tensor.name for tensor in graph.initializer}
        inputs = [value.name for value in graph.input if value.name not in weights]
        if not domains & set(_STANDARD) or len(inputs) != 1:
            raise BackendError(
                f"[export onnx] expected {what} of this engine with one input and a version of "
                f"ai.onnx, got the inputs {inputs} and the domains {sorted(domains)}."
            )
        return cls(what, model, proto)

    @property
    def opset(self) -> int:
        """Version of ``ai.onnx`` that it is written in."""
        return max(int(e.version) for e in self.proto.opset_import if e.domain in _STANDARD)

    @property
    def batch(self) -> int | None:
        """How many pictures it takes; None: any number."""
        (dimension, *_) = self._input.type.tensor_type.shape.dim
        return int(dimension.dim_value) or None

    def shapes(self, outputs: Sequence[str], size: tuple[int, int]) -> list[tuple[int, ...]]:
        """Shapes of outputs, (1, C, h, w), for a picture of (H, W): the network is run once.

        Raises:
            BackendError: if it has no such outputs, or does not run.
        """
        backend = OnnxRuntimeBackend(self.model, outputs=tuple(outputs), threads=1)
        return [array.shape for array in backend.run(np.zeros((1, 3, *size), np.float32))]

    def put_into(
        self, graph: GraphBuilder, value: str, outputs: Sequence[str], *, prefix: str
    ) -> list[str]:
        """Its nodes behind a value of the graph; names of its outputs there.

        Raises:
            BackendError: if it cannot be lifted to the graph's opset.
        """
        proto = self.proto
        if self.opset != graph.opset:
            try:
                proto = version_converter.convert_version(proto, graph.opset)
            except Exception as error:  # the converter's own, of C++
                raise BackendError(
                    f"[export onnx] {self.what} of this engine cannot be lifted from opset "
                    f"{self.opset} to {graph.opset}: {error}. Ask for opset {self.opset}."
                ) from error
        return graph.inline(
            proto.graph, prefix=prefix, feeds={self._input.name: value}, outputs=outputs
        )

    @property
    def _input(self) -> Any:
        weights = {tensor.name for tensor in self.proto.graph.initializer}
        (value,) = (v for v in self.proto.graph.input if v.name not in weights)
        return value


def common_opset(wanted: int, networks: Sequence[InnerNetwork]) -> int:
    """The opset of a graph with these networks inside.

    Raises:
        BackendError: if a network needs a newer one than graphs are written in.
    """
    newest = max(networks, key=lambda network: network.opset)
    if newest.opset > OPSETS[1]:
        raise BackendError(
            f"[export onnx] {newest.what} of this engine is of opset {newest.opset}, graphs are "
            f"written in {OPSETS[0]} to {OPSETS[1]}. Export its backbone with an older one."
        )
    return max(wanted, newest.opset)
