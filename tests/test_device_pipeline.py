"""A frame on the device against the CPU's pipeline, given the same features: the same bits."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from device_network import HostNetwork
from engine_factory import engine_bytes, small_engine
from numpy.typing import NDArray
from tiny_models import tiny_backbone

from pyad_edge import Runtime, opening
from pyad_edge.backends.onnxruntime import OnnxRuntimeBackend
from pyad_edge.device_pipeline import DevicePipeline
from pyad_edge.engine_manifest import Aggregation, MemoryBankHead, Preprocessing
from pyad_edge.errors import BackendError, DataError, SettingError
from pyad_edge.heads.memory_bank import MemoryBankHead as Head
from pyad_edge.ops import cuda
from pyad_edge.ops.cuda.device import require_device
from pyad_edge.pipeline import Pipeline, Scores

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(cuda.device_count() == 0, reason="no CUDA device here"),
]

SIZE = (48, 40)
DIM = 20
LAYERS = ("layer2", "layer3")
PREPROCESSING = Preprocessing(
    resize=(56, 48),
    crop=SIZE,
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
    color_order="rgb",
)


def head(scoring: Literal["reweighted", "maximum"], neighbors: int = 5, rows: int = 60) -> Head:
    settings = MemoryBankHead(
        type="memory_bank",
        aggregation=Aggregation(variant="official", pre_dim=24, target_dim=DIM),
        scoring=scoring,
        neighbors=neighbors,
    )
    bank = np.random.default_rng(5).gamma(2.0, 0.1, (rows, DIM)).astype(np.float32)
    bank[2] = bank[1]  # ties
    return Head(bank, settings)


def settings(backend: OnnxRuntimeBackend, scored: Head) -> dict[str, Any]:
    return {"preprocessing": PREPROCESSING, "backend": backend, "head": scored, "sigma": 3.0}


def pipelines(scored: Head) -> tuple[Pipeline, DevicePipeline, HostNetwork]:
    model = tiny_backbone((8, 16))
    options: dict[str, Any] = {"outputs": LAYERS, "input_size": SIZE, "threads": 1}
    network = HostNetwork(model, **options)
    ours = DevicePipeline(**settings(network, scored))
    return Pipeline(**settings(OnnxRuntimeBackend(model, **options), scored)), ours, network


def frame(seed: int, shape: tuple[int, ...] = (61, 90, 3)) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def assert_same_bits(found: Scores, expected: Scores) -> None:
    for name in ("image", "patch", "rows", "distances"):
        a, b = getattr(found.patches, name), getattr(expected.patches, name)
        assert a.shape == b.shape, name
        assert a.tobytes() == b.tobytes(), name
    assert found.maps.tobytes() == expected.maps.tobytes()
    assert found.map_maxima.tobytes() == expected.map_maxima.tobytes()


@pytest.mark.parametrize(
    "scored",
    [head("reweighted"), head("maximum"), head("reweighted", 20), head("reweighted", 9, 4)],
    ids=["reweighted", "maximum", "twenty neighbours", "four rows"],
)
def test_scores_and_maps_have_the_bits_of_the_cpu(scored: Head) -> None:
    cpu, ours, _ = pipelines(scored)
    batches = [
        [frame(1)],
        [frame(2, (70, 64))],
        [frame(3, (70, 64, 1))],
        [frame(4), frame(5, (33, 47)), frame(6)],
        [frame(7)[:, ::-2, ::-1]],  # strides
    ]
    for frames in batches:
        for order in ("rgb", "bgr"):
            for _ in range(2):  # planned, then known
                found = ours.score(frames, color_order=order)  # type: ignore[arg-type]
                assert_same_bits(found, cpu.score(frames, color_order=order))  # type: ignore[arg-type]
            assert set(found.timings) == {"upload", "device", "results"}


@pytest.mark.parametrize("scoring", ["reweighted", "maximum"])
def test_decisions_are_those_of_the_score(scoring: Literal["reweighted", "maximum"]) -> None:
    cpu, ours, _ = pipelines(head(scoring))
    value = float(cpu.score([frame(1)]).image[0])
    below, above = np.nextafter(np.float32(value), [np.float32(0), np.float32(np.inf)])
    for limit, review, verdict in (
        (value, None, "OK"),
        (float(below), None, "NG"),
        (float(above), float(below), "REVIEW"),
    ):
        decision, timings = ours.decide(frame(1), limit=limit, review=review)
        assert decision.verdict == verdict
        assert decision.score == value
        assert (decision.searched, decision.settled) == (decision.patches, "search")
        assert set(timings) == {"upload", "device", "results"}


def test_results_stay_as_they_were_returned() -> None:
    cpu, ours, _ = pipelines(head("reweighted"))
    frames = [frame(seed) for seed in range(4)]
    kept = [ours.score([picture]) for picture in frames]
    for picture, found in zip(frames, kept, strict=True):
        assert_same_bits(found, cpu.score([picture]))


def test_frames_on_the_device_are_read_where_they_lie() -> None:
    cpu, ours, _ = pipelines(head("reweighted"))
    for shape in ((61, 90, 3), (64, 64), (40, 81, 1)):
        frames = [frame(8, shape), frame(9, shape)]
        there = [cuda.DeviceArray.from_numpy(picture) for picture in frames]
        assert_same_bits(ours.score(there), cpu.score(frames))


def test_a_known_size_allocates_nothing_on_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    _, ours, _ = pipelines(head("reweighted"))
    on_device = [cuda.DeviceArray.from_numpy(frame(1))]
    for frames in ([frame(1)], on_device):
        ours.score(frames)
    module = require_device()
    made: list[int] = []
    allocate = module.allocate

    def counted(size: int) -> int:
        made.append(size)
        return int(allocate(size))

    monkeypatch.setattr(module, "allocate", counted)
    for frames in ([frame(2)], on_device):
        ours.score(frames)
    assert made == []
    ours.score([frame(3, (40, 40))])
    assert made  # the counter counts


def write_engine(path: Path) -> Path:
    """An engine whose golden scores are those of its network."""
    draft, tensors = small_engine(rows=40, onnx=tiny_backbone((4, 6)))
    model = bytes(tensors["network/onnx"])
    backend = OnnxRuntimeBackend(model, outputs=LAYERS, input_size=(32, 32), threads=1)
    golden = Pipeline(
        preprocessing=draft.preprocessing,
        backend=backend,
        head=Head(tensors["bank/features"], draft.head),
        sigma=4.0,
    )
    tensors["golden/scores"] = golden.score(list(tensors["golden/frames"])).image
    path.write_bytes(engine_bytes(draft, tensors))
    return path


def test_a_runtime_on_the_device_gives_the_results_of_the_cpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def on_device(name: str, model: bytes, **settings: Any) -> HostNetwork:
        wanted = {key: settings[key] for key in ("outputs", "input_size")}
        return HostNetwork(model, threads=1, **wanted)

    engine = write_engine(tmp_path / "part.pyad")
    cpu = Runtime(engine, threads=1)
    monkeypatch.setattr(opening, "open_backend", on_device)
    ours = Runtime(engine)
    assert isinstance(ours.pipeline, DevicePipeline)
    assert ours.info["kernels"]["device"] == "cuda"
    frames = [*ours.engine.tensors["golden/frames"][:2], frame(1, (90, 70, 3))]
    for picture in frames:
        there = cuda.DeviceArray.from_numpy(np.ascontiguousarray(picture))
        expected = cpu.infer(picture)
        for found in (ours.infer(picture), ours.infer(there), ours.infer_batch([picture] * 2)[1]):
            assert found.anomaly_map.tobytes() == expected.anomaly_map.tobytes()
            a, b = found.to_dict(), expected.to_dict()
            del a["timings_ms"], b["timings_ms"]
            assert a == b
        assert ours.decide(picture, score=True).score == expected.score


def test_graphs_of_sizes_not_seen_for_long_are_forgotten() -> None:
    _, ours, _ = pipelines(head("maximum"))
    for side in range(20, 40):
        ours.score([frame(0, (side, side))])
    assert len(ours._idle) == 8


def test_several_threads_get_the_bits_of_one() -> None:
    cpu, ours, _ = pipelines(head("reweighted"))
    frames = [frame(seed, (50 + seed % 3, 60, 3)) for seed in range(12)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda picture: ours.score([picture]), frames))
    for picture, scores in zip(frames, found, strict=True):
        assert_same_bits(scores, cpu.score([picture]))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e30])
def test_what_is_not_finite_is_a_fault(value: float) -> None:
    _, ours, network = pipelines(head("reweighted"))
    ours.score([frame(1)])
    network.spoiled = value
    with pytest.raises(BackendError, match=r"not finite.*counts as a fault"):
        ours.score([frame(1)])
    network.spoiled = None
    ours.score([frame(1)])  # the graph serves again


@pytest.mark.parametrize(
    ("frames", "words"),
    [
        ([frame(1).astype(np.float32)], "uint8 array"),
        ([frame(1, (20, 20, 4))], "alpha"),
        ([frame(1, (4, 20, 3))], "sides of 8"),
        ([(20, 20, 4)], r"got \(20, 20, 4\)"),
        ([(20, 7, 3)], "8 to 16384"),
        ([(9,)], r"got \(9,\)"),
        ([frame(1), (30, 30, 3)], "on the device or none"),
    ],
)
def test_what_is_no_frame_is_refused(frames: list[Any], words: str) -> None:
    _, ours, _ = pipelines(head("maximum"))
    there = [
        cuda.DeviceArray.from_numpy(frame(0, f)) if isinstance(f, tuple) else f for f in frames
    ]
    with pytest.raises(DataError, match=words):
        ours.score(there)


def test_an_approximate_index_is_refused() -> None:
    scored = head("maximum")
    scored.approximate = object()  # type: ignore[assignment]
    with pytest.raises(SettingError, match="approximate index"):
        pipelines(scored)


def test_a_frame_of_another_type_on_the_device_is_refused() -> None:
    _, ours, _ = pipelines(head("maximum"))
    with pytest.raises(DataError, match="uint8"):
        ours.score([cuda.DeviceArray.from_numpy(frame(1).astype(np.float32))])


def test_a_backend_without_device_arrays_is_refused() -> None:
    backend = OnnxRuntimeBackend(tiny_backbone((8, 16)), outputs=LAYERS, threads=1)
    with pytest.raises(SettingError, match="onnxruntime has no arrays on a device"):
        DevicePipeline(**settings(backend, head("maximum")))
