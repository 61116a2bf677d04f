"""The backend native: what it fuses, what it refuses, and that engines score on it as elsewhere."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="building tiny networks needs onnx")

from command_line import call  # noqa: E402
from onnx import TensorProto, helper, numpy_helper  # noqa: E402
from tiny_engine import TinyEngine  # noqa: E402

from pyad_edge import Runtime, ops, read_image  # noqa: E402
from pyad_edge.backends.registry import open_backend  # noqa: E402
from pyad_edge.errors import BackendError  # noqa: E402

SIZE = (40, 52)
RNG = np.random.default_rng(0)


def weights(**arrays: np.ndarray) -> list[Any]:
    return [numpy_helper.from_array(a.astype(np.float32), name) for name, a in arrays.items()]


def network(nodes: list[Any], initializers: list[Any], outputs: list[str]) -> bytes:
    def value(name: str, channels: int | str) -> Any:
        shape = ["N", channels, f"{name}H", f"{name}W"]
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    graph = helper.make_graph(
        nodes,
        "network",
        [value("image", 3)],
        [value(name, f"{name}C") for name in outputs],
        initializers,
    )
    opset = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=8)
    return bytes(model.SerializeToString())


def residual_network() -> bytes:
    """Every operator: batch norms, a residual from each side, pools, clips, a shared tensor."""

    def filters(k: int, c: int, side: int) -> np.ndarray:
        return RNG.normal(0, (1 / (c * side * side)) ** 0.5, (k, c, side, side))

    arrays = {
        "w1": filters(24, 3, 5),
        "w2": filters(24, 24, 3),
        "w3": filters(24, 24, 3),
        "w4": filters(40, 24, 3),
        "w5": filters(40, 24, 1),
        "b5": RNG.normal(size=40),
        "scale": RNG.normal(1, 0.2, 24),
        "shift": RNG.normal(size=24),
        "mean": RNG.normal(size=24),
        "variance": RNG.uniform(0.5, 2, 24),
        "low": np.array(0.0),
        "high": np.array(1.5),
    }
    norm = ["scale", "shift", "mean", "variance"]
    ones, twos = [1, 1, 1, 1], [2, 2, 2, 2]
    conv = helper.make_node
    nodes = [
        conv("Conv", ["image", "w1"], ["c1"], pads=twos, strides=[2, 2]),
        conv("BatchNormalization", ["c1", *norm], ["n1"], epsilon=1e-3),
        conv("Clip", ["n1", "low", "high"], ["r1"]),
        conv("MaxPool", ["r1"], ["p1"], kernel_shape=[3, 3], strides=[2, 2], pads=ones),
        conv("Conv", ["p1", "w2"], ["c2"], pads=ones),
        conv("BatchNormalization", ["c2", *norm], ["n2"]),
        conv("Relu", ["n2"], ["r2"]),
        conv("Conv", ["r2", "w3"], ["c3"], pads=ones),
        conv("Add", ["p1", "c3"], ["s3"]),
        conv("Relu", ["s3"], ["first"]),
        conv("Conv", ["first", "w4"], ["c4"], pads=ones, strides=[2, 2]),
        conv("Conv", ["first", "w5", "b5"], ["c5"], strides=[2, 2]),
        conv("Add", ["c4", "c5"], ["s5"]),
        conv("Identity", ["s5"], ["same"]),
        conv("Relu", ["same"], ["second"]),
        conv("AveragePool", ["second"], ["mean5"], kernel_shape=[3, 3], pads=ones, strides=[1, 1]),
        conv("Add", ["mean5", "second"], ["third"]),
        conv("Relu", ["c4"], ["fourth"]),
    ]
    return network(nodes, weights(**arrays), ["first", "second", "third", "fourth"])


def test_what_is_fused_computes_the_same() -> None:
    model, names = residual_network(), ("third", "first", "fourth", "second")
    batch = RNG.normal(size=(2, 3, *SIZE)).astype(np.float32)
    for outputs in (names, ("third",), ("second", "first")):
        wanted = open_backend("onnxruntime", model, outputs=outputs, input_size=SIZE).run(batch)
        found = open_backend("native", model, outputs=outputs, input_size=SIZE).run(batch)
        for a, b in zip(found, wanted, strict=True):
            assert a.shape == b.shape
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_weights_under_another_name() -> None:
    """Exporters write equal tensors once, and an Identity for each other use."""
    w = RNG.normal(size=(3, 3, 3, 3)) / 5
    nodes = [
        helper.make_node("Identity", ["w"], ["w2"]),
        helper.make_node("Conv", ["image", "w"], ["c1"], pads=[1] * 4),
        helper.make_node("Conv", ["c1", "w2"], ["out"], pads=[1] * 4),
    ]
    model = network(nodes, weights(w=w), ["out"])
    batch = RNG.normal(size=(1, 3, *SIZE)).astype(np.float32)
    wanted, found = (
        open_backend(name, model, outputs=("out",), input_size=SIZE).run(batch)[0]
        for name in ("onnxruntime", "native")
    )
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


def test_levels_threads_and_batches() -> None:
    model = residual_network()
    batch = RNG.normal(size=(3, 3, *SIZE)).astype(np.float32)
    level, found = ops.cpu_level(), {}
    try:
        for name in ops.available_cpu_levels():
            ops.set_cpu_level(name)
            made = open_backend("native", model, outputs=("third",), input_size=SIZE)
            one = open_backend("native", model, outputs=("third",), input_size=SIZE, threads=1)
            found[name] = made.run(batch)[0]
            assert made.info["provider"] == name
            np.testing.assert_array_equal(one.run(batch)[0], found[name])
            for n in range(3):
                np.testing.assert_array_equal(made.run(batch[n : n + 1])[0][0], found[name][n])
    finally:
        ops.set_cpu_level(level)
    for array in found.values():
        np.testing.assert_allclose(array, found["portable"], rtol=1e-4, atol=1e-5)


def test_bf16_where_the_processor_has_it() -> None:
    from pyad_edge.backends.native import examine
    from pyad_edge.errors import SettingError

    model = residual_network()
    batch = RNG.normal(size=(2, 3, *SIZE)).astype(np.float32)
    names = ("third", "first")
    level = ops.cpu_level()
    wanted = open_backend("native", model, outputs=names, input_size=SIZE).run(batch)
    try:
        for name in ops.available_cpu_levels():
            ops.set_cpu_level(name)
            offered = ops.has_bf16()
            assert offered is False or name.startswith("avx512")
            assert examine()["precisions"] == (("fp32", "bf16") if offered else ("fp32",))
            if not offered:
                with pytest.raises(SettingError, match=r"offers \(fp32\), got 'bf16'"):
                    open_backend("native", model, outputs=names, input_size=SIZE, precision="bf16")
                continue
            made = open_backend("native", model, outputs=names, input_size=SIZE, precision="bf16")
            assert made.info["precision"] == "bf16"
            for found, exact in zip(made.run(batch), wanted, strict=True):
                apart = np.abs(found - exact).max() / np.abs(exact).max()
                assert 1e-5 < apart < 0.02  # it is rounded, and no more than that
    finally:
        ops.set_cpu_level(level)


@pytest.mark.parametrize(
    ("operator", "settings", "sentence"),
    [
        ("Sigmoid", {}, r"node 1 \(Sigmoid\): it runs Add, AveragePool, .* Choose the backend"),
        ("Conv", {"group": 2}, "two axes with one group"),
        ("Conv", {"dilations": [2, 2]}, "neither dilations nor ceil_mode"),
        ("Conv", {"auto_pad": "SAME_UPPER"}, "not auto_pad=SAME_UPPER"),
        ("MaxPool", {"kernel_shape": [3, 3], "ceil_mode": 1}, "nor ceil_mode"),
        ("MaxPool", {"kernel_shape": [80, 3]}, "windows of 1 to 64 pixels"),
        ("BatchNormalization", {}, "right behind a convolution"),
        ("Add", {}, "no constant as input 1"),
    ],
)
def test_what_it_does_not_run_is_named(
    operator: str, settings: dict[str, Any], sentence: str
) -> None:
    channels = 2 if settings.get("group") else 4
    inputs = {
        "Conv": ["middle", "second"],
        "BatchNormalization": ["middle", *["four"] * 4],
        "Add": ["middle", "four"],
    }
    nodes = [
        helper.make_node("Conv", ["image", "first"], ["start"]),
        helper.make_node(operator, inputs.get(operator, ["middle"]), ["layer"], **settings),
    ]
    # Behind a pool: nothing to fuse a batch norm into.
    nodes.insert(1, helper.make_node("MaxPool", ["start"], ["middle"], kernel_shape=[1, 1]))
    arrays = {
        "first": np.ones((4, 3, 1, 1)),
        "second": np.ones((4, channels, 3, 3)),
        "four": np.ones(4),
    }
    model = network(nodes, weights(**arrays), ["layer"])
    with pytest.raises(BackendError, match=sentence.replace("node 1", "node 2")):
        open_backend("native", model, outputs=("layer",), input_size=SIZE)


def test_bytes_that_are_no_network() -> None:
    for model in (b"", b"no network", residual_network()[:-40]):
        with pytest.raises(BackendError, match=r"\[native\] cannot read a network of"):
            open_backend("native", model, outputs=("layer",), input_size=SIZE)
    with pytest.raises(BackendError, match="no output 'layer9'; it offers first, second"):
        open_backend("native", residual_network(), outputs=("layer9",), input_size=SIZE)


@pytest.mark.parametrize("size", [(64, 64), (75, 101)])
def test_the_built_in_backbone(size: tuple[int, int]) -> None:
    model = (resources.files("pyad_edge.export") / "assets/edge18.onnx").read_bytes()
    batch = RNG.normal(size=(1, 3, *size)).astype(np.float32)
    settings: dict[str, Any] = {"outputs": ("layer2", "layer3"), "input_size": size}
    wanted = open_backend("onnxruntime", model, **settings).run(batch)
    for a, b in zip(open_backend("native", model, **settings).run(batch), wanted, strict=True):
        assert np.linalg.norm(a - b) <= 1e-5 * np.linalg.norm(b)


def test_an_engine_scores_as_it_does_elsewhere(tiny: TinyEngine) -> None:
    usual, runtime = Runtime(tiny.path), Runtime(tiny.path, backend="native")
    assert runtime.info["golden_drift"] < 1e-4
    for path in tiny.scores:
        frame = read_image(path)
        assert runtime.infer(frame).score == pytest.approx(usual.infer(frame).score, rel=1e-4)
        assert runtime.decide(frame).verdict == usual.decide(frame).verdict


def test_commands_take_it(tiny: TinyEngine, tmp_path: Path) -> None:
    source = ("--source", tiny.data / "test/good", "--backend", "native")
    done = call("run", tiny.path, *source, "--max-frames", 2)
    assert done.code == 0, done.err
    few = ("--scenario", "SingleStream", "--clock", "own", "--seconds", 0.1, "--queries", 5)
    done = call("bench", tiny.path, "--backend", "native", *few)
    assert done.code == 0, done.err
