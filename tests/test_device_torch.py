"""Whole frames with torch's networks on a device: one graph, frames of torch and CuPy in place."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tiny_models import three_levels, tiny_backbone

from pyad_edge.backends.onnxruntime import OnnxRuntimeBackend
from pyad_edge.backends.torch import TorchBackend
from pyad_edge.device_pipeline import DevicePipeline
from pyad_edge.engine_manifest import Aggregation, MemoryBankHead, Preprocessing
from pyad_edge.errors import DataError
from pyad_edge.heads.memory_bank import MemoryBankHead as Head
from pyad_edge.ops import anomaly_map, cuda
from pyad_edge.preprocessing import to_batch

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(cuda.device_count() == 0, reason="no CUDA device here"),
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch is built without CUDA"),
]

SIZE = (64, 64)
LAYERS = ("layer2", "layer3")
NORM: dict[str, Any] = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
PREPROCESSING = Preprocessing(resize=SIZE, crop=None, color_order="rgb", **NORM)


def backend(precision: str = "fp32") -> TorchBackend:
    return TorchBackend(
        tiny_backbone((24, 32)),
        outputs=LAYERS,
        input_size=SIZE,
        precision=precision,
        device="cuda",
    )


def pipeline(precision: str = "fp32") -> DevicePipeline:
    aggregation = Aggregation(variant="official", pre_dim=48, target_dim=40)
    settings = MemoryBankHead(
        type="memory_bank", aggregation=aggregation, scoring="reweighted", neighbors=7
    )
    bank = np.random.default_rng(5).gamma(2.0, 0.1, (300, 40)).astype(np.float32)
    parts: dict[str, Any] = {"preprocessing": PREPROCESSING, "sigma": 4.0}
    return DevicePipeline(backend=backend(precision), head=Head(bank, settings), **parts)


def frame(seed: int, shape: tuple[int, ...] = (80, 100, 3)) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def signature(scores: Any) -> tuple[bytes, ...]:
    patches = scores.patches
    found = (patches.image, patches.patch, patches.rows, scores.maps, scores.map_maxima)
    return tuple(array.tobytes() for array in found)


@pytest.mark.parametrize(("precision", "limit"), [("fp32", 1e-5), ("fp16", 4e-3), ("bf16", 3e-2)])
def test_features_are_those_of_onnxruntime(precision: str, limit: float) -> None:
    batch = np.random.default_rng(0).standard_normal((2, 3, *SIZE), np.float32)
    expected = OnnxRuntimeBackend(tiny_backbone((24, 32)), outputs=LAYERS).run(batch)
    ours = backend(precision)
    for _ in range(2):
        for found, wanted in zip(ours.run(batch), expected, strict=True):
            assert np.linalg.norm(found - wanted) < limit * np.linalg.norm(wanted)


@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
def test_given_the_features_all_else_has_the_bits_of_the_cpu(precision: str) -> None:
    ours = pipeline(precision)
    for frames in ([frame(1)], [frame(2), frame(3, (64, 64)), frame(4)]):
        for _ in range(3):
            found = ours.score(frames)
            expected = ours.head.score(ours.last_features())
            maps, maxima = anomaly_map(expected.patch, size=SIZE, sigma=4.0)
            assert signature(found)[:3] == tuple(
                a.tobytes() for a in (expected.image, expected.patch, expected.rows)
            )
            assert found.maps.tobytes() == maps.tobytes()
            assert found.map_maxima.tobytes() == maxima.tobytes()


def test_the_networks_input_is_that_of_the_cpu() -> None:
    ours = pipeline()
    ours.score([frame(1)])
    (waiting,) = ours._idle.values()
    there = waiting[0]._session.input.cpu().numpy()
    assert there.tobytes() == to_batch([frame(1)], PREPROCESSING).tobytes()


def test_tensors_of_torch_are_read_in_place() -> None:
    ours = pipeline()
    image = frame(5, (90, 120, 3))
    expected = signature(ours.score([image]))
    tensor = torch.from_numpy(image).cuda()
    assert signature(ours.score([tensor])) == expected
    planar = tensor.permute(2, 0, 1).contiguous().permute(1, 2, 0)  # channels first
    assert signature(ours.score([planar])) == expected
    cut = torch.zeros((200, 300, 3), dtype=torch.uint8, device="cuda")
    cut[50:140, 70:190] = tensor
    assert signature(ours.score([cut[50:140, 70:190]])) == expected
    with pytest.raises(DataError, match="on the device or none"):
        ours.score([tensor, image])


def test_a_tensor_that_is_still_being_written_is_waited_for() -> None:
    ours = pipeline()
    image = frame(6)
    expected = signature(ours.score([image]))
    there = torch.from_numpy(image).cuda()
    late = torch.zeros_like(there)
    ours.score([late])
    torch.cuda._sleep(50_000_000)
    late.copy_(there)
    assert signature(ours.score([late])) == expected


def test_arrays_of_cupy_are_read_in_place() -> None:
    cupy = pytest.importorskip("cupy")
    ours = pipeline()
    image = frame(7)
    expected = signature(ours.score([image]))
    assert signature(ours.score([cupy.asarray(image)])) == expected


def test_threads_and_sessions_give_the_same_bits() -> None:
    ours = pipeline("fp16")
    frames = [frame(seed, (70 + seed % 2, 80, 3)) for seed in range(16)]
    expected = [signature(ours.score([picture])) for picture in frames]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda picture: signature(ours.score([picture])), frames * 2))
    assert found == expected * 2
    assert [signature(pipeline("fp16").score([picture])) for picture in frames[:2]] == expected[:2]


def test_levels_on_streams_of_their_own_give_the_bits_of_one_stream() -> None:
    ours = TorchBackend(three_levels(), outputs=("out",), input_size=SIZE, device="cuda")
    session = ours.session(2)
    for seed in range(8):
        batch = np.random.default_rng(seed).standard_normal((2, 3, *SIZE), np.float32)
        session.input[:] = batch
        session.run()  # a graph with three streams
        plan = ours._plan(batch.shape)
        assert plan.branches.count == 3
        exact = {"benchmark": False, "deterministic": True, "allow_tf32": False}
        with ours.errors(batch.shape), torch.backends.cudnn.flags(enabled=True, **exact):
            (wanted,) = plan(ours.typed(batch.shape).copy_(torch.from_numpy(batch)))
        assert session.outputs[0].tobytes() == wanted.cpu().numpy().tobytes()


def test_a_session_on_the_host_gives_the_bits_of_run() -> None:
    ours = backend("bf16")
    session = ours.session(2)
    for seed in (1, 2):
        batch = np.random.default_rng(seed).standard_normal((2, 3, *SIZE), np.float32)
        session.input[:] = batch
        session.run()
        for found, wanted in zip(session.outputs, ours.run(batch), strict=True):
            assert found.tobytes() == wanted.tobytes()


def test_a_known_size_allocates_nothing_of_torchs_memory() -> None:
    ours = pipeline()
    for _ in range(3):
        ours.score([frame(1)])
    torch.cuda.synchronize()
    before = torch.cuda.memory_stats()["allocation.all.allocated"]
    for seed in range(20):
        ours.score([frame(seed)])
    assert torch.cuda.memory_stats()["allocation.all.allocated"] == before
