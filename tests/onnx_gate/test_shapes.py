"""The gate predicts the shapes that ONNX Runtime makes, operator by operator, at odd sizes."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from numpy.typing import NDArray
from onnx import helper
from onnx_gate.one_node import model_of, network_of

from pyad_edge.onnx_gate.check import check_network
from pyad_edge.onnx_gate.errors import GateError
from pyad_edge.onnx_gate.operators import OPERATORS

SHAPE = (1, 4, 15, 22)


def zeros(*shape: int) -> NDArray[np.float32]:
    return np.zeros(shape, np.float32)


def whole(*numbers: int) -> NDArray[np.int64]:
    return np.array(numbers, np.int64)


def floats(*numbers: float) -> NDArray[np.float32]:
    return np.array(numbers, np.float32)


def agree(model: bytes, shape: tuple[int, ...] = SHAPE) -> None:
    options = ort.SessionOptions()
    options.log_severity_level = 4
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    picture = np.random.default_rng(0).uniform(0.1, 1, shape).astype(np.float32)
    found = session.run(None, {"x": picture})
    predicted = check_network(model, input_shape=shape)  # type: ignore[arg-type]
    names = [output.name for output in session.get_outputs()]
    assert predicted.outputs == {
        name: tuple(array.shape) for name, array in zip(names, found, strict=True)
    }


K = zeros(6, 4, 3, 3)
CASES: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
    *((op, (), {}) for op in ("Relu", "Sigmoid", "Erf", "Softplus", "Sqrt", "Identity", "Softmax")),
    *((op, (), {}) for op in ("HardSwish", "Elu", "Neg", "Floor", "Tanh", "LeakyRelu", "Not?")),
    ("Add", (zeros(4, 1, 1),), {}),
    ("Mul", (zeros(3, 4, 15, 22),), {}),
    ("Pow", (floats(2.0),), {}),
    ("PRelu", (zeros(4, 1, 1),), {}),
    ("Max", (zeros(1), zeros(2, 1, 1, 1)), {}),
    ("Div", (floats(2.0),), {}),
    ("Clip", (np.float32(0), np.float32(6)), {}),
    ("Cast", (), {"to": 7}),
    ("Dropout", (), {"outputs": 2}),
    ("BatchNormalization", (*(zeros(4) for _ in range(3)), np.ones(4, np.float32)), {}),
    ("LayerNormalization", (zeros(22), zeros(22)), {"outputs": 3}),
    ("LayerNormalization", (zeros(15, 22),), {"axis": -2}),
    ("InstanceNormalization", (zeros(4), zeros(4)), {}),
    ("QuantizeLinear", (np.float32(0.1), np.uint8(3)), {}),
    ("Conv", (K,), {}),
    ("Conv", (K, zeros(6)), {"strides": [2, 3], "pads": [1, 0, 2, 1], "dilations": [2, 1]}),
    ("Conv", (zeros(8, 1, 5, 1),), {"group": 4, "kernel_shape": [5, 1]}),
    ("Conv", (K,), {"auto_pad": "SAME_UPPER", "strides": [2, 2]}),
    ("Conv", (K,), {"auto_pad": "SAME_LOWER", "strides": [3, 3]}),
    ("Conv", (K,), {"auto_pad": "VALID"}),
    ("ConvTranspose", (zeros(4, 5, 3, 2),), {"strides": [2, 3], "pads": [1, 0, 1, 1]}),
    ("ConvTranspose", (zeros(4, 2, 2, 2),), {"group": 2, "strides": [2, 2], "dilations": [2, 1]}),
    ("ConvTranspose", (zeros(4, 2, 3, 3),), {"strides": [2, 2], "output_padding": [1, 0]}),
    ("MaxPool", (), {"kernel_shape": [3, 3], "strides": [2, 2], "outputs": 2}),
    *(
        (
            "MaxPool",
            (),
            {"kernel_shape": [k, k], "strides": [s, s], "pads": [p] * 4, "ceil_mode": 1},
        )
        for k in (2, 3)
        for s in (1, 2, 3)
        for p in (0, 1)
    ),
    ("AveragePool", (), {"kernel_shape": [3, 2], "pads": [1, 1, 1, 1], "ceil_mode": 1}),
    ("GlobalAveragePool", (), {}),
    ("GlobalMaxPool", (), {}),
    ("MatMul", (zeros(22, 7),), {}),
    ("MatMul", (zeros(3, 1, 22, 7),), {}),
    ("MatMul", (zeros(22),), {}),
    ("Reshape", (whole(0, -1, 11),), {}),
    ("Reshape", (whole(-1),), {}),
    ("Flatten", (), {}),
    ("Flatten", (), {"axis": -1}),
    ("Flatten", (), {"axis": 4}),
    ("Transpose", (), {"perm": [0, 2, 3, 1]}),
    ("Transpose", (), {}),
    ("Squeeze", (whole(0),), {}),
    ("Squeeze", (), {}),
    ("Squeeze", (), {"axes": [-4], "opset": 11}),
    ("Unsqueeze", (whole(0, -1),), {}),
    ("Unsqueeze", (), {"axes": [2], "opset": 11}),
    ("Concat", (zeros(1, 3, 15, 22), zeros(1, 1, 15, 22)), {"axis": -3}),
    ("Split", (), {"axis": 3, "outputs": 2}),
    ("Split", (whole(4, 10, 1),), {"axis": 2, "outputs": 3}),
    ("Split", (), {"axis": 1, "split": [1, 3], "outputs": 2, "opset": 11}),
    ("Slice", (whole(1, -5), whole(99, -1), whole(2, 3)), {}),
    ("Slice", (whole(-1), whole(-(2**62)), whole(3), whole(-2)), {}),
    ("Slice", (whole(12), whole(2), whole(2), whole(-3)), {}),
    ("Slice", (whole(-100), whole(2**62), whole(2), whole(4)), {}),
    ("Slice", (), {"starts": [1], "ends": [3], "axes": [1], "opset": 9}),
    ("Gather", (whole(0, 3, -1),), {"axis": 1}),
    ("Gather", (np.array(2),), {"axis": 2}),
    ("Expand", (whole(5, 1, 1, 1, 1),), {}),
    ("Tile", (whole(1, 2, 1, 3),), {}),
    ("Pad", (whole(0, 0, 1, 2, 0, 0, 3, 4),), {"mode": "edge"}),
    ("Pad", (whole(0, 0, -1, 2, 0, 0, 3, -4), np.float32(1)), {}),
    ("Pad", (whole(1, 2), None, whole(-1)), {"opset": 18}),
    ("Pad", (), {"pads": [0, 0, 1, 1, 0, 0, 1, 1], "opset": 9}),
    ("DepthToSpace", (), {"blocksize": 2}),
    ("Resize", (None, floats(1, 1, 2, 0.5)), {"mode": "linear"}),
    ("Resize", (None, floats(1, 1, 1.7, 1.3)), {"mode": "nearest"}),
    ("Resize", (None, None, whole(1, 4, 31, 9)), {"mode": "cubic"}),
    ("Resize", (floats(1, 1, 2, 2),), {"opset": 10}),
    ("Upsample", (floats(1, 1, 2, 3),), {"opset": 9}),
    *((op, (), {"axes": [1, -1]}) for op in ("ReduceMean", "ReduceL2", "ReduceMax", "ReduceMin")),
    ("ReduceMean", (), {"keepdims": 0}),
    ("ReduceSum", (whole(2),), {"keepdims": 0}),
    ("ReduceSum", (whole(),), {"noop_with_empty_axes": 1}),
    ("ReduceMean", (whole(2, 3),), {"opset": 18}),
    ("ArgMax", (), {"axis": 1}),
    ("ArgMin", (), {"axis": -1, "keepdims": 0}),
    ("TopK", (whole(3),), {"axis": 3, "outputs": 2}),
    ("Shape", (), {}),
    ("Shape", (), {"start": 1, "end": -1}),
    ("Size", (), {}),
    ("CumSum", (np.array(2),), {}),
]
CASES = [case for case in CASES if case[0] != "Not?"]


@pytest.mark.parametrize(
    ("op", "inputs", "attributes"), CASES, ids=[f"{n}-{case[0]}" for n, case in enumerate(CASES)]
)
def test_shapes_are_those_of_onnx_runtime(
    op: str, inputs: tuple[Any, ...], attributes: dict[str, Any]
) -> None:
    agree(model_of(op, *inputs, **attributes))


def test_sizes_that_follow_from_the_picture() -> None:
    """What exporters write for sizes that are open: numbers computed from a shape."""
    node = helper.make_node
    nodes = [
        node("Shape", ["x"], ["s"]),
        node("Slice", ["s", "two", "four"], ["hw"]),
        node("Cast", ["hw"], ["f"], to=1),
        node("Div", ["f", "stride"], ["d"]),
        node("Ceil", ["d"], ["c"]),
        node("Cast", ["c"], ["k"], to=7),
        node("Mul", ["k", "twice"], ["m"]),
        node("Sub", ["m", "hw"], ["r"]),
        node("Max", ["r", "zero"], ["p"]),
        node("Div", ["p", "twice"], ["before"]),
        node("Sub", ["p", "before"], ["after"]),
        node("Concat", ["zero", "zero", "before", "zero", "zero", "after"], ["pads"], axis=0),
        node("Pad", ["x", "pads"], ["padded"]),
        node("ConstantOfShape", ["k"], ["ones"]),
        node("Range", ["n0", "n9", "n2"], ["range"]),
        node("ReduceProd", ["hw"], ["area"], keepdims=0),
        node("Unsqueeze", ["area", "axis"], ["flat"]),
        node("Reshape", ["padded", "minus"], ["row"]),
        node("Where", ["yes", "hw", "k"], ["where"]),
        node("Expand", ["zero", "where"], ["grid"]),
        node("Concat", ["zero", "zero", "ks"], ["unused"], axis=0),
    ]
    weights = {
        "two": whole(2),
        "four": whole(4),
        "stride": floats(2),
        "twice": whole(2),
        "zero": whole(0),
        "minus": whole(-1),
        "axis": whole(0),
        "n0": np.array(0),
        "n9": np.array(9),
        "n2": np.array(2),
        "yes": np.array([True, False]),
        "ks": whole(1),
    }
    outputs = ["padded", "ones", "range", "row", "grid", "flat"]
    for height, width in ((15, 22), (16, 16), (31, 7)):
        model = network_of(nodes, outputs, weights)
        agree(model.SerializeToString(), (1, 4, height, width))


@pytest.mark.parametrize(
    ("op", "inputs", "attributes", "why"),
    [
        ("Conv", (zeros(6, 3, 3, 3),), {}, "weights of shape"),
        ("Conv", (zeros(6, 4, 99, 3),), {}, "a window of 99 on 15 positions"),
        ("Conv", (K,), {"strides": [0, 1]}, "no usable attribute 'strides'"),
        ("Conv", (K,), {"pads": [-1, 0, 0, 0]}, "no usable attribute 'pads'"),
        ("Conv", (K,), {"auto_pad": "SOME"}, "unknown auto_pad"),
        ("Conv", (K,), {"kernel_shape": [5, 5]}, "kernel_shape that its weights do not have"),
        ("Reshape", (whole(7, -1),), {}, "puts 1320 numbers into the shape"),
        ("Reshape", (whole(-1, -1),), {}, "no usable shape"),
        ("Add", (zeros(5),), {}, "combines shapes that do not fit"),
        ("MatMul", (zeros(5, 5),), {}, "multiplies shapes that do not fit"),
        ("Concat", (zeros(1, 3, 15, 23),), {"axis": 1}, "joins shapes that do not fit"),
        ("Transpose", (), {"perm": [0, 1, 1, 2]}, "puts 4 axes in the order"),
        ("Squeeze", (whole(1),), {}, "removes an axis"),
        ("Gather", (whole(0),), {"axis": 4}, "has the axis 4 of a value with 4 axes"),
        ("Split", (whole(1, 1),), {"axis": 1, "outputs": 2}, r"cuts 4 into \[1, 1\]"),
        ("Dropout", (np.float32(0.5), np.array(True)), {}, "training mode"),
        ("BatchNormalization", tuple(zeros(4) for _ in range(4)), {"training_mode": 1}, "training"),
        ("Cast", (), {"to": 8}, "casts to a type"),
        ("Resize", (None, floats(1, 1, -2, 1)), {}, "no usable sizes or scales"),
        ("TopK", (whole(23),), {"axis": 3, "outputs": 2}, "more of the largest numbers"),
        ("Relu", (), {"outputs": 2}, "2 outputs instead of 1"),
        ("MaxPool", (), {}, "no usable attribute 'kernel_shape'"),
        ("Pad", (whole(0, 0, 0, 0, 0, 0, -99, 0),), {}, "impossible shape"),
    ],
)
def test_what_cannot_work_is_refused(
    op: str, inputs: tuple[Any, ...], attributes: dict[str, Any], why: str
) -> None:
    with pytest.raises(GateError, match=why):
        check_network(model_of(op, *inputs, **attributes), input_shape=SHAPE)


def test_every_operator_of_the_list_is_one_of_onnx() -> None:
    known = {schema.name for schema in onnx.defs.get_all_schemas()}
    assert set(OPERATORS) <= known | {"Upsample"}
    assert not set(OPERATORS) & {"If", "Loop", "Scan", "SequenceMap", "RandomNormal", "Optional"}
