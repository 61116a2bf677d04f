"""TensorRT's plans without a device: parsing, building, what is kept, what is refused."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx")
from tiny_models import tiny_backbone

from pyad_edge.backends import tensorrt, tensorrt_rtx
from pyad_edge.backends.tensorrt_plan import build_plan
from pyad_edge.backends.typed_onnx import lowered
from pyad_edge.errors import BackendError, SettingError
from pyad_edge.ops import cuda

LAYERS = ("layer2", "layer3")
SHAPE = (1, 3, 64, 64)


@pytest.mark.parametrize("precision", tensorrt.PRECISIONS)
def test_the_builder_of_tensorrt_rtx_builds_without_a_device(precision: str) -> None:
    trt = pytest.importorskip("tensorrt_rtx")
    model = lowered(tiny_backbone((32, 64)), precision)
    plan = build_plan(trt, model, op="tensorrt-rtx", outputs=LAYERS, shape=SHAPE)
    weights = 64 * 32 * 9 * (4 if precision == "fp32" else 2)
    assert len(plan) > weights
    one = build_plan(trt, model, op="tensorrt-rtx", outputs=LAYERS[:1], shape=SHAPE)
    assert len(one) < len(plan) - weights // 2  # what nobody asked for is not in it


@pytest.mark.parametrize(
    ("model", "outputs", "words"),
    [
        (b"not a network", LAYERS, "cannot parse a network of 13 bytes"),
        (None, ("layer9",), "no output 'layer9'; it offers layer2, layer3"),
    ],
)
def test_the_builder_refuses_with_a_sentence(
    model: bytes | None, outputs: tuple[str, ...], words: str
) -> None:
    trt = pytest.importorskip("tensorrt_rtx")
    with pytest.raises(BackendError, match=words):
        build_plan(trt, model or tiny_backbone(), op="x", outputs=outputs, shape=SHAPE)


def test_a_size_that_the_network_cannot_take_is_refused() -> None:
    trt = pytest.importorskip("tensorrt_rtx")
    with pytest.raises(BackendError, match=r"cannot build a plan .* \(1, 5, 64, 64\)"):
        build_plan(trt, tiny_backbone(), op="x", outputs=LAYERS, shape=(1, 5, 64, 64))


@pytest.mark.skipif(cuda.device_count() > 0, reason="there is a device")
@pytest.mark.parametrize("backend", [tensorrt.TensorRtBackend, tensorrt_rtx.TensorRtRtxBackend])
def test_running_needs_a_device(backend: type[tensorrt.TensorRtBackend]) -> None:
    with pytest.raises(BackendError, match=r"needs a CUDA device and pyad_edge built with CUDA"):
        backend(tiny_backbone(), outputs=LAYERS, input_size=(64, 64))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"precision": "int8"}, "fp32, fp16, bf16"),
        ({"device": "cpu"}, "expected device 'cuda', got 'cpu'"),
        ({"calibration": np.zeros((1, 3, 64, 64), np.float32)}, "calibration pictures are for"),
    ],
)
def test_settings_are_checked_first(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingError, match=words):
        tensorrt.TensorRtBackend(tiny_backbone(), outputs=LAYERS, **settings)


def test_examine_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensorrt, "installed_version", lambda *names: None)
    row = tensorrt.examine()
    assert (row["state"], row["version"]) == ("missing", None)
    assert "pyad_edge[tensorrt]" in row["why"]
    monkeypatch.setattr(tensorrt, "installed_version", lambda *names: "10.0")
    monkeypatch.setattr(tensorrt, "why_unavailable", lambda: "[cuda] no device.")
    assert tensorrt_rtx.examine() | {"state": "unavailable", "why": "[cuda] no device."} == (
        tensorrt_rtx.examine()
    )
    monkeypatch.setattr(tensorrt, "why_unavailable", lambda: None)
    assert tensorrt.examine()["precisions"] == ["fp32", "fp16", "bf16"]


class Driver:
    """A CUDA module whose device is made up."""

    name = "Orin"

    def device_traits(self) -> tuple[int, int]:
        return 87, 16

    def device_name(self) -> str:
        return self.name


def test_a_plan_is_built_once_and_again_for_another_device(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[tuple[tuple[int, ...], str | None]] = []
    driver = Driver()

    def build(trt: Any, model: bytes, **settings: Any) -> bytes:
        built.append((settings["shape"], settings["timing_key"]))
        return b"plan of " + str(settings["shape"]).encode()

    class Runtime:
        def __init__(self, logger: Any) -> None: ...

        def deserialize_cuda_engine(self, plan: bytes) -> bytes:
            return plan

    package = SimpleNamespace(__version__="10.9", Runtime=Runtime)
    monkeypatch.setenv("PYAD_EDGE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(tensorrt, "why_unavailable", lambda: None)
    monkeypatch.setattr(tensorrt, "require_device", lambda: driver)
    monkeypatch.setattr(tensorrt, "require_package", lambda *names, **others: package)
    monkeypatch.setattr(tensorrt, "collector", lambda trt: SimpleNamespace(errors=[]))
    monkeypatch.setattr(tensorrt, "build_plan", build)

    def opened(**settings: Any) -> tensorrt.TensorRtBackend:
        return tensorrt.TensorRtBackend(
            tiny_backbone(), outputs=LAYERS, input_size=(64, 64), cache_key="engine", **settings
        )

    first = opened()
    assert first.info["provider"] == "Orin"
    assert first.info["precision"] == "fp32"
    assert len(built) == 1
    assert opened().plan(1) == b"plan of (1, 3, 64, 64)"
    assert len(built) == 1
    first._engine((2, 3, 64, 64))
    opened(precision="fp16")
    driver.name = "Thor"
    opened()
    assert [shape for shape, _ in built] == [SHAPE, (2, 3, 64, 64), SHAPE, SHAPE]
    timings = [key for _, key in built]
    assert timings[0] == timings[1] == timings[2] != timings[3]
    assert None not in timings
    package.__version__ = "11.0"
    opened()
    assert len(built) == 5
