"""Whole frames with TensorRT's plans on a device; the other backends' tests need no plan."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tiny_models import tiny_backbone

from pyad_edge.backends.onnxruntime import OnnxRuntimeBackend
from pyad_edge.backends.tensorrt import TensorRtBackend
from pyad_edge.device_pipeline import DevicePipeline
from pyad_edge.engine_manifest import Aggregation, MemoryBankHead, Preprocessing
from pyad_edge.heads.memory_bank import MemoryBankHead as Head
from pyad_edge.ops import anomaly_map, cuda

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(cuda.device_count() == 0, reason="no CUDA device here"),
]

SIZE = (64, 64)
LAYERS = ("layer2", "layer3")
PREPROCESSING = Preprocessing(
    resize=SIZE,
    crop=None,
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
    color_order="rgb",
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache."""
    pytest.importorskip("tensorrt")
    monkeypatch.setenv("PYAD_EDGE_CACHE", str(tmp_path / "cache"))
    return tmp_path


def backend(precision: str) -> TensorRtBackend:
    return TensorRtBackend(
        tiny_backbone((24, 32)), outputs=LAYERS, input_size=SIZE, precision=precision
    )


@pytest.mark.parametrize(("precision", "limit"), [("fp32", 1e-5), ("fp16", 4e-3), ("bf16", 3e-2)])
def test_features_are_those_of_onnxruntime(folder: Path, precision: str, limit: float) -> None:
    batch = np.random.default_rng(0).standard_normal((2, 3, *SIZE), np.float32)
    expected = OnnxRuntimeBackend(tiny_backbone((24, 32)), outputs=LAYERS).run(batch)
    for ours in (backend(precision), backend(precision)):  # built, then from the cache
        for found, wanted in zip(ours.run(batch), expected, strict=True):
            assert np.linalg.norm(found - wanted) < limit * np.linalg.norm(wanted)
    assert list(folder.rglob("*.plan"))


def frame(seed: int) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (80, 100, 3), np.uint8)


def test_given_the_features_all_else_has_the_bits_of_the_cpu(folder: Path) -> None:
    aggregation = Aggregation(variant="official", pre_dim=48, target_dim=40)
    settings = MemoryBankHead(
        type="memory_bank", aggregation=aggregation, scoring="reweighted", neighbors=7
    )
    bank = np.random.default_rng(5).gamma(2.0, 0.1, (300, 40)).astype(np.float32)
    parts: dict[str, Any] = {"preprocessing": PREPROCESSING, "sigma": 4.0}
    ours = DevicePipeline(backend=backend("fp16"), head=Head(bank, settings), **parts)
    for frames in ([frame(1)], [frame(2), frame(3)], [cuda.DeviceArray.from_numpy(frame(4))]):
        for _ in range(2):
            found = ours.score(frames)
            expected = ours.head.score(ours.last_features())
            maps, _ = anomaly_map(expected.patch, size=SIZE, sigma=4.0)
            assert found.image.tobytes() == expected.image.tobytes()
            assert found.patches.rows.tobytes() == expected.rows.tobytes()
            assert found.maps.tobytes() == maps.tobytes()
