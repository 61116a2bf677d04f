"""Networks with the shapes of known ones and random weights, as ONNX: to be timed anywhere.

Batch normalisation is folded, as `pyad-edge backbone export` folds it. Needs the package onnx.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

__all__ = ["patch_detector", "resnet"]

BASIC = {"resnet18": (2, 2, 2)}
BOTTLENECK = {"wide_resnet50_2": ((3, 4, 6), 2)}


class _Graph:
    """Nodes and weights, added one after another."""

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        self.nodes: list[Any] = []
        self.weights: list[Any] = []
        self._count = 0

    def _name(self) -> str:
        self._count += 1
        return f"t{self._count}"

    def conv(
        self, x: str, c_in: int, c_out: int, k: int, *, stride: int = 1, pad: int | None = None
    ) -> str:
        """A convolution whose outputs have about the variance of its inputs."""
        out = self._name()
        scale = (1.0 / (c_in * k * k)) ** 0.5
        weight = self._rng.normal(0, scale, (c_out, c_in, k, k)).astype(np.float32)
        bias = self._rng.normal(0, 0.05, c_out).astype(np.float32)
        for name, array in ((f"{out}.w", weight), (f"{out}.b", bias)):
            self.weights.append(numpy_helper.from_array(array, name))
        amount = k // 2 if pad is None else pad
        self.nodes.append(
            helper.make_node(
                "Conv",
                [x, f"{out}.w", f"{out}.b"],
                [out],
                kernel_shape=[k, k],
                strides=[stride, stride],
                pads=[amount] * 4,
            )
        )
        return out

    def apply(self, op: str, *inputs: str, out: str | None = None, **attributes: Any) -> str:
        """Any other operator."""
        name = out or self._name()
        self.nodes.append(helper.make_node(op, list(inputs), [name], **attributes))
        return name

    def model(self, outputs: Sequence[tuple[str, int]]) -> bytes:
        """The file, input `image` (N, 3, H, W)."""

        def value(name: str, channels: int) -> Any:
            return helper.make_tensor_value_info(
                name, TensorProto.FLOAT, ["N", channels, f"{name}_h", f"{name}_w"]
            )

        graph = helper.make_graph(
            self.nodes, "net", [value("image", 3)], [value(*o) for o in outputs], self.weights
        )
        imports = [helper.make_opsetid("", 17)]
        made = helper.make_model(graph, opset_imports=imports, ir_version=8)
        onnx.checker.check_model(made)
        return bytes(made.SerializeToString())


def resnet(name: str, *, seed: int = 0) -> bytes:
    """ResNet-18 or Wide-ResNet-50-2 as far as layer 3, outputs layer2 and layer3."""
    graph = _Graph(seed)
    x = graph.apply("Relu", graph.conv("image", 3, 64, 7, stride=2))
    x = graph.apply("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    wide = BOTTLENECK.get(name)
    blocks = wide[0] if wide else BASIC[name]
    c_in, outputs = 64, []
    for level, count in enumerate(blocks):
        width = 64 * 2**level
        c_out = 4 * width if wide else width
        for block in range(count):
            stride = 2 if block == 0 and level > 0 else 1
            skip = (
                x if (stride, c_in) == (1, c_out) else graph.conv(x, c_in, c_out, 1, stride=stride)
            )
            if wide:
                inner = width * wide[1]
                y = graph.apply("Relu", graph.conv(x, c_in, inner, 1))
                y = graph.apply("Relu", graph.conv(y, inner, inner, 3, stride=stride))
                y = graph.conv(y, inner, c_out, 1)
            else:
                y = graph.apply("Relu", graph.conv(x, c_in, c_out, 3, stride=stride))
                y = graph.conv(y, c_out, c_out, 3)
            last = block == count - 1 and level > 0
            out = f"layer{level + 1}" if last else None
            x = graph.apply("Relu", graph.apply("Add", y, skip), out=out)
            c_in = c_out
        if level > 0:
            outputs.append((x, c_out))
    return graph.model(outputs)


def patch_detector(*, seed: int = 0) -> bytes:
    """Eight convolutions with a field of view of 34 x 34 pixels, as GRAD's detector; output score.

    The paper gives layers and field of view, not the widths: these are ours.
    """
    graph, x, c_in = _Graph(seed), "image", 3
    for c_out, k, stride in (
        (32, 5, 1),
        (64, 4, 2),
        (64, 3, 1),
        (128, 4, 2),
        (128, 3, 1),
        (256, 3, 1),
        (256, 1, 1),
    ):
        x = graph.apply("Relu", graph.conv(x, c_in, c_out, k, stride=stride, pad=0))
        c_in = c_out
    score = graph.conv(x, c_in, 1, 1, pad=0)
    return graph.model([(graph.apply("Sigmoid", score, out="score"), 1)])
