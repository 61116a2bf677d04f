"""Each ONNX operator of the torch backend, against ONNX Runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch_networks import network, node

from pyad_edge.backends.onnxruntime import OnnxRuntimeBackend
from pyad_edge.backends.torch import TorchBackend
from pyad_edge.errors import BackendError


def pictures(*shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(0).standard_normal(shape, np.float32)


def weights(*shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(9).normal(0, 0.4, shape).astype(np.float32)


W = np.array
OPERATORS: dict[str, tuple[list[Any], dict[str, NDArray[Any]]]] = {
    "uneven pads": (
        [node("Conv", "image", "w", pads=[0, 1, 2, 1], strides=[2, 1], dilations=[1, 2])],
        {"w": weights(4, 3, 3, 3)},
    ),
    "groups": ([node("Conv", "image", "w", group=3)], {"w": weights(6, 1, 3, 3)}),
    "max pool": (
        [node("MaxPool", "image", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])],
        {},
    ),
    "max pool, uneven": (
        [node("MaxPool", "image", kernel_shape=[3, 2], strides=[2, 2], pads=[0, 0, 1, 1])],
        {},
    ),
    "max pool, rounded up": (
        [node("MaxPool", "image", kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1)],
        {},
    ),
    "average pool": (
        [node("AveragePool", "image", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])],
        {},
    ),
    "average pool, pads counted": (
        [
            node(
                "AveragePool",
                "image",
                kernel_shape=[3, 3],
                pads=[1, 1, 1, 1],
                count_include_pad=1,
            )
        ],
        {},
    ),
    "batch normalization": (
        [node("BatchNormalization", "image", "s", "b", "m", "v", epsilon=1e-3)],
        {"s": weights(3), "b": weights(3), "m": weights(3), "v": weights(3) ** 2},
    ),
    "squeeze and excite": (
        [
            node("GlobalAveragePool", "image", out="m"),
            node("Conv", "m", "w", out="c"),
            node("HardSigmoid", "c", out="g", alpha=0.3, beta=0.4),
            node("Mul", "image", "g"),
        ],
        {"w": weights(3, 3, 1, 1)},
    ),
    "swish": (
        [
            node("HardSwish", "image", out="h"),
            node("Sigmoid", "h", out="s"),
            node("Mul", "h", "s"),
        ],
        {},
    ),
    "clip": (
        [node("Clip", "image", "low", "high", out="c"), node("Clip", "c", "", "less")],
        {"low": W(-0.5, "f4"), "high": W(0.7, "f4"), "less": W(0.2, "f4")},
    ),
    "activations": (
        [
            node("LeakyRelu", "image", out="a", alpha=0.2),
            node("Elu", "a", out="b", alpha=0.7),
            node("Tanh", "b", out="c"),
            node("Erf", "c", out="d"),
            node("Exp", "d"),
        ],
        {},
    ),
    "concat and identity": (
        [node("Identity", "image", out="a"), node("Concat", "a", "image", axis=1)],
        {},
    ),
    "a constant": (
        [
            helper.make_node("Constant", [], ["k"], value_float=0.25),
            node("Sub", "image", "k", out="a"),
            node("Div", "a", "d"),
        ],
        {"d": W([[[2.0]], [[3.0]], [[4.0]]], "f4")},
    ),
    "gemm": (
        [
            node("GlobalAveragePool", "image", out="m"),
            node("Flatten", "m", out="f"),
            node("Gemm", "f", "w", "b", out="g", transB=1, alpha=0.5, beta=2.0),
            node("Reshape", "g", "shape"),
        ],
        {"w": weights(5, 3), "b": weights(5), "shape": W([0, 5, 1, -1])},
    ),
    "resize by scales": (
        [
            node(
                "Resize",
                "image",
                "",
                "by",
                mode="nearest",
                coordinate_transformation_mode="asymmetric",
                nearest_mode="floor",
            )
        ],
        {"by": W([1, 1, 2, 2], "f4")},
    ),
    "resize to a size": (
        [
            node("Shape", "image", out="s"),
            node("Slice", "s", "zero", "two", "zero", out="n"),
            node("Concat", "n", "size", out="whole", axis=0),
            node("Resize", "image", "", "", "whole", mode="linear"),
        ],
        {"zero": W([0]), "two": W([2]), "size": W([31, 50])},
    ),
    "a pad": (
        [node("Pad", "image", "pads", "value")],
        {"pads": W([0, 0, 1, 2, 0, 0, 3, 0]), "value": W(0.5, "f4")},
    ),
    "a pad of the edge, a maximum and a softplus": (
        [
            node("Pad", "image", "pads", out="p", mode="edge"),
            node("Max", "p", "k", "p", out="m"),
            node("Softplus", "m"),
        ],
        {"pads": W([0, 0, 1, 2, 0, 0, 3, 0]), "k": W(0.5, "f4")},
    ),
    "slices and a transposition": (
        [
            node("Slice", "image", "a", "b", "axes", "steps", out="s"),
            node("Transpose", "s", perm=[0, 1, 3, 2]),
        ],
        {"a": W([-1, 1]), "b": W([-(2**62), 2**62]), "axes": W([2, 3]), "steps": W([-2, 3])},
    ),
    "softmax of means": (
        [node("ReduceMean", "image", out="m", axes=[3], keepdims=1), node("Softmax", "m", axis=2)],
        {},
    ),
    "a norm of rows": (
        [node("LayerNormalization", "image", "scale", "bias", axis=-1, epsilon=1e-3)],
        {"scale": weights(24), "bias": weights(24)},
    ),
    "powers": (
        [node("Mul", "image", "image", out="s"), node("Sqrt", "s", out="r"), node("Pow", "r", "p")],
        {"p": W(1.5, "f4")},
    ),
    "a gathered row": (
        [
            node("Gather", "image", "rows", out="g", axis=2),
            node("Squeeze", "g", "two", out="q"),
            node("Unsqueeze", "q", "two"),
        ],
        {"rows": W([-1]), "two": W([2])},
    ),
    "a matrix product": ([node("MatMul", "image", "w")], {"w": weights(24, 7)}),
    "a filled constant": (
        [
            node("ConstantOfShape", "shape", out="k", value=helper.make_tensor("v", 1, [1], [0.5])),
            node("Add", "image", "k"),
        ],
        {"shape": W([1, 3, 1, 1])},
    ),
}


@pytest.mark.parametrize("name", OPERATORS)
def test_each_operator_is_that_of_onnxruntime(name: str) -> None:
    nodes, constants = OPERATORS[name]
    model = network(nodes, **constants)
    batch = pictures(2, 3, 21, 24)
    (expected,) = OnnxRuntimeBackend(model, outputs=("layer2",), threads=1).run(batch)
    (found,) = TorchBackend(model, outputs=("layer2",)).run(batch)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("nodes", "words"),
    [
        ([node("LpNormalization", "image")], r"uses LpNormalization \(node ''\)"),
        (
            [node("Conv", "image", "w", auto_pad="SAME_UPPER")],
            "uses Conv with auto_pad=SAME_UPPER",
        ),
        ([node("Pad", "image", "w", mode="reflect")], "uses Pad with mode=reflect"),
        ([node("Resize", "image", "", "w", mode="cubic")], "uses Resize with mode=cubic"),
        ([node("Cast", "image", to=TensorProto.FLOAT8E4M3FN)], "uses Cast with to="),
    ],
)
def test_an_operator_that_is_not_known_is_refused_by_name(nodes: list[Any], words: str) -> None:
    graph = helper.make_graph(
        nodes,
        "made",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3, "H", "W"])],
        [helper.make_tensor_value_info("layer2", TensorProto.FLOAT, ["N", "C", "h", "w"])],
        [numpy_helper.from_array(weights(4, 3, 3, 3), "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)])
    with pytest.raises(BackendError, match=words):
        TorchBackend(model.SerializeToString(), outputs=("layer2",))
