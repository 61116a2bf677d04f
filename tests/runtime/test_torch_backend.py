"""The torch backend on the CPU, against ONNX Runtime on the same networks."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from importlib import resources
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto
from tiny_engine import TinyEngine
from tiny_models import edit_model, tiny_backbone
from torch_networks import network, node

from pyad_edge import Runtime, read_image
from pyad_edge.backends import torch as torch_backend
from pyad_edge.backends.onnxruntime import OnnxRuntimeBackend
from pyad_edge.backends.torch import TorchBackend, examine
from pyad_edge.errors import BackendError, SettingError

LAYERS = ("layer2", "layer3")


def edge18() -> bytes:
    return (resources.files("pyad_edge.export") / "assets" / "edge18.onnx").read_bytes()


def pictures(*shape: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


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
        ({"precision": "int8"}, r"\(fp32, fp16, bf16\), got 'int8'"),
        ({"device": "tpu"}, "cpu, cuda, got 'tpu'"),
        ({"threads": 0}, "threads"),
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
    with pytest.raises(BackendError, match="input_size"):
        backend.session(1)


def test_examine_says_what_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    row = examine()
    assert (row["state"], row["precisions"]) == ("ok", ["fp32", "fp16", "bf16"])
    assert "cpu" in row["devices"]
    monkeypatch.setattr(torch_backend.importlib.util, "find_spec", lambda name: None)
    row = examine()
    assert row["state"] == "missing"
    assert "pyad_edge[torch]" in row["why"]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_runtime_on_torch_scores_as_on_onnxruntime(tiny: TinyEngine, precision: str) -> None:
    runtime = Runtime(tiny.path, backend="torch", precision=precision)
    assert runtime.info["backend"]["name"] == "torch"
    for path, wanted in list(tiny.scores.items())[:3]:
        limit = 1e-4 if precision == "fp32" else 5e-2
        assert abs(runtime.infer(read_image(path)).score - wanted) < limit * wanted
