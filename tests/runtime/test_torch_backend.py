"""The torch backend on the CPU, against ONNX Runtime on the same networks."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from importlib import resources
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from tiny_models import edit_model, tiny_backbone

from pyad_edge.backends import torch as torch_backend
from pyad_edge.backends.onnxruntime import OnnxRuntimeBackend
from pyad_edge.backends.torch import TorchBackend, examine
from pyad_edge.errors import BackendError, SettingError

LAYERS = ("layer2", "layer3")


def edge18() -> bytes:
    return (resources.files("pyad_edge.export") / "assets" / "edge18.onnx").read_bytes()


def pictures(*shape: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def network(nodes: list[Any], opset: int = 17, **constants: NDArray[Any]) -> bytes:
    """A network from `image` (N, 3, H, W) to `layer2`."""
    graph = helper.make_graph(
        nodes,
        "made",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3, "H", "W"])],
        [helper.make_tensor_value_info("layer2", TensorProto.FLOAT, ["N", "C", "h", "w"])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    imports = [helper.make_opsetid("", opset)]
    model = helper.make_model(graph, opset_imports=imports, ir_version=8)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def node(op: str, *inputs: str, out: str = "layer2", **attributes: Any) -> Any:
    return helper.make_node(op, list(inputs), [out], **attributes)


def error(found: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


# Relative errors measured on this backbone at 224 px: 1.2e-6, 6e-4 and 8e-3.
@pytest.mark.parametrize(("precision", "limit"), [("fp32", 1e-5), ("fp16", 3e-3), ("bf16", 2e-2)])
@pytest.mark.parametrize("model", [edge18(), tiny_backbone()], ids=["edge18", "tiny"])
def test_features_are_those_of_onnxruntime(model: bytes, precision: str, limit: float) -> None:
    batch = pictures(2, 3, 65, 96)
    expected = OnnxRuntimeBackend(model, outputs=LAYERS, threads=1).run(batch)
    backend = TorchBackend(model, outputs=LAYERS, precision=precision)
    for found, wanted in zip(backend.run(batch), expected, strict=True):
        assert found.dtype == np.float32
        assert found.flags.c_contiguous
        assert error(found, wanted) < limit


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


def test_what_only_the_size_decides_is_computed_once() -> None:
    model = network(
        [
            node("Shape", "image", out="s"),
            node("Gather", "s", "two", out="h"),
            node("Cast", "h", out="f", to=TensorProto.FLOAT),
            node("Mul", "image", "f", out="scaled"),
            node("Relu", "scaled"),
        ],
        two=np.array(2),
    )
    backend = TorchBackend(model, outputs=("layer2",), precision="bf16")
    batch = pictures(1, 3, 16, 8)
    (found,) = backend.run(batch)
    assert error(found, np.maximum(batch * 16, 0)) < 5e-3
    (plan,) = backend._plans.values()
    assert len(plan._steps) == 2


def test_a_head_that_nobody_asked_for_is_not_run() -> None:
    backend = TorchBackend(tiny_backbone((8, 16, 24)), outputs=("layer2",))
    batch = pictures(1, 3, 64, 64)
    (found,) = backend.run(batch)
    (plan,) = backend._plans.values()
    assert len(plan._steps) == 6  # three convolutions of five
    (expected,) = OnnxRuntimeBackend(tiny_backbone((8, 16, 24)), outputs=("layer2",)).run(batch)
    assert error(found, expected) < 1e-5


def test_a_session_keeps_its_arrays_and_gives_the_bits_of_run() -> None:
    backend = TorchBackend(tiny_backbone(), outputs=LAYERS, input_size=(48, 64))
    session = backend.session(2)
    arrays = (session.input, *session.outputs)
    for seed in (1, 2):
        batch = pictures(2, 3, 48, 64, seed=seed)
        session.input[:] = batch
        session.run()
        assert all(a is b for a, b in zip(arrays, (session.input, *session.outputs), strict=True))
        for found, expected in zip(session.outputs, backend.run(batch), strict=True):
            assert found.tobytes() == expected.tobytes()


def test_several_threads_get_the_bits_of_one() -> None:
    backend = TorchBackend(tiny_backbone(), outputs=LAYERS)
    batches = [pictures(1, 3, 64, 64, seed=seed) for seed in range(8)]
    expected = [[f.tobytes() for f in backend.run(batch)] for batch in batches]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda b: [f.tobytes() for f in backend.run(b)], batches * 3))
    assert found == expected * 3


def test_settings_and_metadata_are_told() -> None:
    threads = torch.get_num_threads()
    try:
        backend = TorchBackend(tiny_backbone(), outputs=LAYERS, precision="bf16", threads=1)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(threads)
    assert backend.device == "cpu"
    assert backend.metadata["name"] == "tiny"
    assert TorchBackend(edit_model(tiny_backbone()), outputs=LAYERS).metadata == {}
    told = backend.info
    assert (told["name"], told["precision"], told["device"], told["threads"]) == (
        "torch",
        "bf16",
        "cpu",
        1,
    )


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"precision": "int8"}, "fp32, fp16, bf16, got 'int8'"),
        ({"device": "tpu"}, "cpu, cuda, got 'tpu'"),
        ({"threads": 0}, "threads of 1 to 1024"),
        ({"outputs": ()}, "at least one output name"),
    ],
)
def test_settings_that_cannot_be_used_are_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingError, match=words):
        TorchBackend(tiny_backbone(), **({"outputs": LAYERS} | settings))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a device")
def test_a_device_that_is_not_there_is_refused() -> None:
    with pytest.raises(BackendError, match="torch sees no CUDA device here"):
        TorchBackend(tiny_backbone(), outputs=LAYERS, device="cuda")
    with pytest.raises(SettingError, match="no device arrays"):
        TorchBackend(tiny_backbone(), outputs=LAYERS).device_session(1)


@pytest.mark.parametrize(
    ("model", "outputs", "words"),
    [
        (b"not a network", LAYERS, "complete ONNX file"),
        (tiny_backbone(), ("layer7",), "no output 'layer7'; it offers layer2, layer3"),
        (edit_model(tiny_backbone(), pyad_edge__backbone="[1]"), LAYERS, "not a JSON object"),
        (
            network([node("ReduceMean", "image", axes=[3], keepdims=0)]),
            ("layer2",),
            r"expected output 'layer2' of shape \(1, C, h, w\)",
        ),
    ],
)
def test_a_network_that_is_no_backbone_is_refused(
    model: bytes, outputs: tuple[str, ...], words: str
) -> None:
    with pytest.raises(BackendError, match=words):
        TorchBackend(model, outputs=outputs, input_size=(32, 32)).session(1)


def test_a_batch_that_does_not_fit_is_refused() -> None:
    backend = TorchBackend(tiny_backbone(), outputs=LAYERS)
    for batch in (pictures(1, 4, 32, 32), pictures(3, 32, 32), pictures(0, 3, 32, 32)):
        with pytest.raises(BackendError, match=r"expected a .*batch"):
            backend.run(batch)
    with pytest.raises(BackendError, match="float32"):
        backend.run(pictures(1, 3, 32, 32).astype(np.float64))  # type: ignore[arg-type]
    with pytest.raises(SettingError, match="input_size"):
        backend.session(1)


def test_examine_says_what_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    row = examine()
    assert (row["state"], row["precisions"]) == ("ok", ["fp32", "fp16", "bf16"])
    assert "cpu" in row["devices"]
    monkeypatch.setattr(torch_backend.importlib.util, "find_spec", lambda name: None)
    row = examine()
    assert row["state"] == "missing"
    assert "pyad_edge[torch]" in row["why"]
