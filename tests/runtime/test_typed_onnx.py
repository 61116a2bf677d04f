"""Networks with lowered types: the same numbers within what the type holds."""

from __future__ import annotations

from importlib import resources

import numpy as np
import onnxruntime
import pytest

onnx = pytest.importorskip("onnx")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402
from tiny_models import tiny_backbone  # noqa: E402

from pyad_edge.backends.typed_onnx import lowered  # noqa: E402
from pyad_edge.errors import BackendError  # noqa: E402


def run(model: bytes, batch: np.ndarray) -> list[np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    found: list[np.ndarray] = session.run(None, {session.get_inputs()[0].name: batch})
    return found


def edge18() -> bytes:
    return (resources.files("pyad_edge.export") / "assets" / "edge18.onnx").read_bytes()


def sized_network() -> bytes:
    """A pad whose amount is computed from the input's size, a mean, a gate, a resize."""
    floats = {
        "two": np.float32(2.0),
        "low": np.float32(0.0),
        "scales": np.array([1, 1, 2, 2], np.float32),
        "w": np.random.default_rng(0).normal(0, 0.3, (4, 3, 3, 3)).astype(np.float32),
    }
    node = helper.make_node
    nodes = [
        node("Shape", ["image"], ["shape"]),
        node("Gather", ["shape", "axis"], ["side"]),
        node("Cast", ["side"], ["side_f"], to=TensorProto.FLOAT),
        node("Div", ["side_f", "two"], ["half"]),
        node("Ceil", ["half"], ["up"]),
        node("Mul", ["up", "two"], ["even"]),
        node("Sub", ["even", "side_f"], ["beyond"]),
        node("Cast", ["beyond"], ["extra"], to=TensorProto.INT64),
        node("Unsqueeze", ["extra", "zero"], ["amount"]),
        node("Concat", ["zeros", "amount", "none"], ["pads"], axis=0),
        node("Pad", ["image", "pads", "low"], ["padded"]),
        node("Conv", ["padded", "w"], ["c"], pads=[1, 1, 1, 1], strides=[2, 2]),
        node("Relu", ["c"], ["a"]),
        node("ReduceMean", ["a"], ["m"], axes=[2, 3], keepdims=1),
        node("Sigmoid", ["m"], ["gate"]),
        node("Mul", ["a", "gate"], ["b"]),
        node("Add", ["b", "half"], ["layer2"]),
        node(
            "Resize",
            ["layer2", "", "scales"],
            ["layer3"],
            mode="nearest",
            coordinate_transformation_mode="asymmetric",
            nearest_mode="floor",
        ),
    ]
    whole = {
        "axis": np.array(2, np.int64),
        "zero": np.array([0], np.int64),
        "zeros": np.zeros(6, np.int64),
        "none": np.zeros(1, np.int64),
    }
    tensors = [numpy_helper.from_array(np.asarray(v), k) for k, v in (floats | whole).items()]
    graph = helper.make_graph(
        nodes,
        "sized",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3, "H", "W"])],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 4, f"{name}h", f"{name}w"])
            for name in ("layer2", "layer3")
        ],
        tensors,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


@pytest.mark.parametrize("model", [edge18(), tiny_backbone(), sized_network()])
def test_fp16_is_near_fp32_with_input_and_outputs_in_float32(model: bytes) -> None:
    batch = np.random.default_rng(1).standard_normal((2, 3, 63, 64), np.float32)
    low = lowered(model, "fp16")
    onnx.checker.check_model(onnx.load_from_string(low), full_check=True)
    for name, found, expected in zip("ab", run(low, batch), run(model, batch), strict=True):
        assert found.dtype == np.float32, name
        error = np.linalg.norm(found - expected) / np.linalg.norm(expected)
        assert error < 3e-3, name


def test_weights_are_rounded_to_the_nearest_bf16() -> None:
    model = tiny_backbone()
    low = onnx.load_from_string(lowered(model, "bf16"))
    before = {
        t.name: numpy_helper.to_array(t) for t in onnx.load_from_string(model).graph.initializer
    }
    assert len(low.graph.initializer) == len(before)
    for tensor in low.graph.initializer:
        assert tensor.data_type == TensorProto.BFLOAT16
        bits = np.frombuffer(tensor.raw_data, "<u2").astype(np.uint32) << 16
        found, wanted = bits.view(np.float32), before[tensor.name.removesuffix("_bf16")].reshape(-1)
        assert np.abs(found - wanted).max() <= np.abs(wanted).max() * 2.0**-8
        neighbors = np.stack([bits - 0x10000, bits + 0x10000]).view(np.float32)
        assert (np.abs(found - wanted) <= np.abs(neighbors - wanted).min(axis=0)).all()


def attending_network() -> bytes:
    """A convolution, a transformer's products on its features, and their difference from these."""
    rng = np.random.default_rng(0)
    weights = {
        "conv": rng.normal(0, 0.3, (8, 3, 3, 3)).astype(np.float32),
        "query": rng.normal(0, 0.3, (8, 8)).astype(np.float32),
    }
    node = helper.make_node
    nodes = [
        node("Conv", ["image", "conv"], ["c"], pads=[1, 1, 1, 1], strides=[4, 4]),
        node("Relu", ["c"], ["layer2"]),
        node("Reshape", ["layer2", "rows"], ["flat"]),
        node("Transpose", ["flat"], ["x"], perm=[0, 2, 1]),
        node("MatMul", ["x", "query"], ["q"]),
        node("MatMul", ["q", "flat"], ["logits"]),
        node("Softmax", ["logits"], ["s"], axis=-1),
        node("MatMul", ["s", "x"], ["z"]),
        node("Sub", ["z", "x"], ["errors"]),
    ]
    tensors = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    tensors.append(numpy_helper.from_array(np.array([0, 8, -1], np.int64), "rows"))
    shapes = {"layer2": ["N", 8, "h", "w"], "errors": ["N", "L", 8]}
    graph = helper.make_graph(
        nodes,
        "attending",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3, "H", "W"])],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in shapes.items()],
        tensors,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


@pytest.mark.parametrize(("precision", "low"), [("bf16", "layer2"), ("fp16", "errors")])
def test_bf16_leaves_a_transformer_in_float32(precision: str, low: str) -> None:
    model = onnx.load_from_string(lowered(attending_network(), precision))
    type_of = TensorProto.DataType.Value({"bf16": "BFLOAT16", "fp16": "FLOAT16"}[precision])
    kinds = {t.name: t.data_type for t in model.graph.initializer}
    assert kinds[f"conv_{precision}"] == type_of
    attends = {"query": TensorProto.FLOAT} if precision == "bf16" else {"query_fp16": type_of}
    assert attends.items() <= kinds.items()
    casts = {n.output[0]: n.attribute[0].i for n in model.graph.node if n.op_type == "Cast"}
    wide = dict.fromkeys({"layer2", low}, TensorProto.FLOAT)  # outputs stay what they were
    if precision == "bf16":
        wide |= dict.fromkeys(("flat_fp32", "x_fp32"), TensorProto.FLOAT)
    assert casts == {f"image_{precision}": type_of} | wide


def test_a_transformer_in_fp16_is_near_fp32() -> None:
    batch = np.random.default_rng(1).standard_normal((2, 3, 32, 32), np.float32)
    model = attending_network()
    for found, expected in zip(run(lowered(model, "fp16"), batch), run(model, batch), strict=True):
        assert np.linalg.norm(found - expected) / np.linalg.norm(expected) < 3e-3


def test_fp32_is_what_came() -> None:
    assert lowered(b"anything", "fp32") == b"anything"


def test_what_does_not_fit_is_refused() -> None:
    proto = onnx.load_from_string(tiny_backbone())
    weight = numpy_helper.to_array(proto.graph.initializer[0]) * 1e6
    proto.graph.initializer[0].CopyFrom(
        numpy_helper.from_array(weight, proto.graph.initializer[0].name)
    )
    with pytest.raises(BackendError, match=r"beyond fp16\. Use bf16"):
        lowered(proto.SerializeToString(), "fp16")
    with pytest.raises(BackendError, match="complete ONNX file"):
        lowered(b"not a network", "bf16")
