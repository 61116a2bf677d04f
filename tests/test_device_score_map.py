"""A score map's frame on the device beside the CPU, given the same map: the same bits."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from device_network import HostNetwork
from format_4_engines import runnable
from numpy.typing import NDArray

from pyad_edge import Runtime, opening
from pyad_edge.device_score_map import DeviceScoreMapPipeline
from pyad_edge.engine import read_engine
from pyad_edge.errors import BackendError
from pyad_edge.ops import cuda
from pyad_edge.ops.cuda.device import require_device

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(cuda.device_count() == 0, reason="no CUDA device here"),
]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return runnable("grad", tmp_path_factory.mktemp("grad"))


@pytest.fixture
def ours(path: Path, monkeypatch: pytest.MonkeyPatch) -> Runtime:
    def on_device(name: str, model: bytes, **settings: Any) -> HostNetwork:
        wanted = {key: settings[key] for key in ("outputs", "input_size")}
        return HostNetwork(model, threads=1, **wanted)

    monkeypatch.setattr(opening, "open_backend", on_device)
    return Runtime(path)


def frame(seed: int, shape: tuple[int, ...] = (61, 90, 3)) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def test_results_are_those_of_the_cpu(path: Path, ours: Runtime) -> None:
    cpu = Runtime(path, threads=1)
    assert isinstance(ours.pipeline, DeviceScoreMapPipeline)
    assert ours.info["kernels"]["device"] == "cuda"
    for shape in ((61, 90, 3), (40, 40), (33, 70, 1)):
        picture = frame(1, shape)
        there = cuda.DeviceArray.from_numpy(picture)
        expected = cpu.infer(picture)
        for found in (ours.infer(picture), ours.infer(there), ours.infer_batch([picture] * 2)[1]):
            assert found.anomaly_map.tobytes() == expected.anomaly_map.tobytes()
            a, b = found.to_dict(), expected.to_dict()
            del a["timings_ms"], b["timings_ms"]
            assert a == b


def test_decisions_are_those_of_the_score(ours: Runtime) -> None:
    score = ours.infer(frame(1)).score
    below = float(np.nextafter(np.float32(score), np.float32(0)))
    for value, verdict in ((score, "OK"), (below, "NG")):
        ours.set_threshold(value=value)
        decision = ours.decide(frame(1))
        assert (decision.verdict, decision.score, decision.patches) == (verdict, score, 16)
        assert decision.anomaly_map is None


@pytest.mark.parametrize("value", [np.nan, np.inf, -1.0])
def test_what_is_no_score_is_a_fault(ours: Runtime, value: float) -> None:
    ours.infer(frame(1))
    network = ours.pipeline.backend
    assert isinstance(network, HostNetwork)
    network.spoiled = value
    for call in (ours.infer, ours.decide):
        with pytest.raises(BackendError, match=r"row 3, column 3.*counts as a fault"):
            call(frame(1))
    network.spoiled = None
    ours.infer(frame(1))  # the graph serves again


def test_a_known_size_allocates_nothing_and_threads_agree(
    ours: Runtime, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = [frame(seed) for seed in range(6)]
    alone = [ours.infer(picture) for picture in frames]
    made: list[int] = []
    module = require_device()
    allocate = module.allocate
    monkeypatch.setattr(module, "allocate", lambda size: made.append(size) or allocate(size))
    ours.infer(frames[0])
    assert made == []
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(ours.infer, frames * 2))
    for n, result in enumerate(found):
        assert result.anomaly_map.tobytes() == alone[n % 6].anomaly_map.tobytes()
    assert read_engine(path).manifest.method == "grad"
