"""benchmarks/gpu_frames.py with a network on the host: its logic, not its clock."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gpu_frames
import numpy as np
import pytest
from device_network import HostNetwork
from random_networks import patch_detector, resnet

from pyad_edge.backends.onnxruntime import OnnxRuntimeBackend
from pyad_edge.ops import cuda

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(cuda.device_count() == 0, reason="no CUDA device here"),
]


def on_the_host(model: bytes, outputs: tuple[str, ...], size: tuple[int, int], _: str) -> Any:
    return HostNetwork(model, outputs=outputs, input_size=size, threads=1)


def go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, opened: Any) -> tuple[int, dict[str, Any]]:
    monkeypatch.setattr(gpu_frames, "WARM_UP", 1)
    monkeypatch.setattr(gpu_frames, "LEVELS", (48, 40))
    monkeypatch.setattr(gpu_frames, "NETWORKS", {"resnet18": 32})
    out = tmp_path / "frames.json"
    words = ["--json", str(out), "--frames", "4", "--size", "48", "--rows", "90"]
    words += ["--networks", "resnet18", "--precisions", "fp16"]
    return gpu_frames.main(words, opened), json.loads(out.read_text())


def test_each_case_is_compared_timed_and_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, found = go(tmp_path, monkeypatch, on_the_host)
    assert code == 0
    patchcore, grad = found["rows"]
    assert (patchcore["case"], grad["case"]) == ("resnet18", "grad")
    assert patchcore["bank"] == [90, 32]
    assert patchcore["frame"] == [48, 48, 3]
    assert set(patchcore["stages_p50_ms"]) == {"upload", "device", "results"}
    for row in (patchcore, grad, patchcore["network_ms"]):
        assert 0 < row["p50_ms"] <= row["p90_ms"] <= row["p99_ms"] <= row["max_ms"]
    for row in (patchcore, grad):
        assert row["goal_met"] is (row["p99_ms"] < 1.0)
        assert 0 <= row["rejected"] <= 4


def test_what_differs_from_the_cpu_is_not_timed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(*given: Any, **others: Any) -> tuple[np.ndarray, np.ndarray]:
        return np.zeros((1, 48, 48), np.float32), np.zeros(1, np.float32)

    monkeypatch.setattr(gpu_frames, "anomaly_map", wrong)
    code, found = go(tmp_path, monkeypatch, on_the_host)
    assert code == 1
    assert "the map differs from the CPU's" in found["rows"][0]["failed"]
    assert "p99_ms" not in found["rows"][0]
    assert "p99_ms" in found["rows"][1]  # the others are timed


@pytest.mark.parametrize(("name", "channels"), [("resnet18", 256), ("wide_resnet50_2", 1024)])
def test_the_networks_have_the_shapes_of_the_known_ones(name: str, channels: int) -> None:
    backend = OnnxRuntimeBackend(resnet(name), outputs=gpu_frames.LAYERS)
    two, three = backend.run(np.random.default_rng(0).standard_normal((1, 3, 64, 64), np.float32))
    assert two.shape == (1, channels // 2, 8, 8)
    assert three.shape == (1, channels, 4, 4)
    assert 0.01 < three.std() < 100


def test_a_detector_sees_34_pixels() -> None:
    backend = OnnxRuntimeBackend(patch_detector(), outputs=("score",))
    (one,) = backend.run(np.zeros((1, 3, 34, 34), np.float32))
    (grid,) = backend.run(np.zeros((1, 3, 256, 256), np.float32))
    assert one.shape == (1, 1, 1, 1)
    assert grid.shape == (1, 1, 56, 56)
