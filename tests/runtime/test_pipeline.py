"""Behind the backbone: bits that depend on nothing but the features, and eq. 7 spelled out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tiny_engine import TinyEngine, write_engine

from pyad_edge import BackendError, Runtime, SettingError, read_image
from pyad_edge.backends import OnnxRuntimeBackend
from pyad_edge.engine_manifest import Aggregation
from pyad_edge.engine_manifest import MemoryBankHead as HeadSettings
from pyad_edge.heads.memory_bank import MemoryBankHead, PatchScores, embed
from pyad_edge.ops import anomaly_map, num_threads, set_num_threads
from pyad_edge.pipeline import Pipeline
from pyad_edge.runtime import build_pipeline

Array = NDArray[np.float32]


@pytest.fixture
def threads_restored() -> Iterator[None]:
    before = num_threads()
    yield
    set_num_threads(before)


def head_settings(scoring: str, *, neighbors: int = 9, dim: int = 24) -> HeadSettings:
    aggregation = Aggregation(variant="official", pre_dim=dim, target_dim=dim)
    return HeadSettings.model_validate(
        {
            "type": "memory_bank",
            "aggregation": aggregation,
            "scoring": scoring,
            "neighbors": neighbors,
        }
    )


def levels(rng: np.random.Generator, N: int, *, h: int = 12, w: int = 10) -> list[Array]:
    """Features of two levels, (N, 8, h, w) and (N, 16, h/2, w/2) float32."""
    return [
        rng.gamma(1.0, size=(N, 8, h, w)).astype(np.float32),
        rng.gamma(1.0, size=(N, 16, h // 2, w // 2)).astype(np.float32),
    ]


def slow_scores(
    patches: NDArray[np.floating], bank: NDArray[np.floating], b: int, dtype: type
) -> tuple[float, NDArray[np.floating]]:
    """Eqs. 6 and 7 as printed: picture score and (P,) patch distances of (P, D) patches."""
    patches, bank = patches.astype(dtype), bank.astype(dtype)
    distances = np.sqrt(((patches[:, None] - bank) ** 2).sum(axis=2))  # (P, M)
    s_star, test = distances.min(axis=1).max(), distances.min(axis=1).argmax()
    nearest = bank[distances[test].argmin()]
    around = np.sqrt(((bank - nearest) ** 2).sum(axis=1)).argsort(kind="stable")[:b]
    exponentials = np.exp(distances[test, around])
    weight = 1 - np.exp(s_star) / exponentials.sum()
    return float(weight * s_star), distances.min(axis=1)


def bits(scores: PatchScores) -> list[bytes]:
    return [value.tobytes() for value in vars(scores).values()]


@pytest.mark.parametrize("scoring", ["reweighted", "maximum"])
@pytest.mark.usefixtures("threads_restored")
def test_scores_and_maps_do_not_depend_on_threads_or_batches(scoring: str) -> None:
    rng = np.random.default_rng(5)
    bank = rng.gamma(1.0, size=(333, 24)).astype(np.float32)
    head = MemoryBankHead(bank, head_settings(scoring))
    features = levels(rng, 5)
    found = {}
    for threads in (1, 2, 3):
        set_num_threads(threads)
        scores = head.score(features)
        maps = anomaly_map(scores.patch, size=(96, 80), sigma=4.0)
        found[threads] = (bits(scores), [array.tobytes() for array in maps])
        for n in range(5):
            single = head.score([level[n : n + 1] for level in features])
            for one, many in zip(vars(single).values(), vars(scores).values(), strict=True):
                assert one[0].tobytes() == many[n].tobytes()
            alone = anomaly_map(single.patch, size=(96, 80), sigma=4.0)
            assert [part[0].tobytes() for part in alone] == [part[n].tobytes() for part in maps]
    assert found[1] == found[2] == found[3]


@pytest.mark.parametrize("neighbors", [2, 3, 9])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_reweighted_is_equation_7(neighbors: int, dtype: type) -> None:
    rng = np.random.default_rng(neighbors)
    bank = rng.gamma(1.0, size=(50, 24)).astype(np.float32)
    settings = head_settings("reweighted", neighbors=neighbors)
    features = levels(rng, 4)
    scores = MemoryBankHead(bank, settings).score(features)
    patches = embed(features, settings)
    for n in range(4):
        image, patch = slow_scores(patches[n].reshape(-1, 24), bank, neighbors, dtype)
        assert scores.image[n] == pytest.approx(image, rel=1e-5)
        np.testing.assert_allclose(scores.patch[n].ravel(), patch, rtol=1e-5)
        assert scores.patch[n].tobytes() == scores.distances[n].tobytes()
        assert 0 < scores.image[n] < scores.patch[n].max()


def test_maximum_is_the_plain_squared_maximum() -> None:
    rng = np.random.default_rng(7)
    bank = rng.gamma(1.0, size=(50, 24)).astype(np.float32)
    settings = head_settings("maximum", neighbors=1)
    features = levels(rng, 3)
    scores = MemoryBankHead(bank, settings).score(features)
    flat = embed(features, settings).reshape(3, -1, 24).astype(np.float64)
    squared = ((flat[:, :, None] - bank) ** 2).sum(axis=3)  # (N, P, M)
    np.testing.assert_allclose(scores.patch.reshape(3, -1), squared.min(axis=2), rtol=1e-5)
    np.testing.assert_array_equal(scores.rows.reshape(3, -1), squared.argmin(axis=2))
    np.testing.assert_array_equal(scores.image, scores.patch.max(axis=(1, 2)))
    np.testing.assert_array_equal(scores.distances, np.sqrt(scores.patch))


def test_reweighting_of_far_duplicate_and_equal_points() -> None:
    rng = np.random.default_rng(8)
    features = [1000 * level for level in levels(rng, 1)]
    # Distances in the thousands: a plain exp would overflow. All rows but one are the same.
    bank = np.zeros((30, 24), np.float32)
    bank[-1] = 5000
    scores = MemoryBankHead(bank, head_settings("reweighted")).score(features)
    assert scores.image[0] == pytest.approx(float(scores.patch.max()) * (1 - 1 / 9), rel=1e-6)
    # A picture whose patches are all bank rows scores zero.
    patches = embed(features, head_settings("reweighted"))
    exact = MemoryBankHead(patches.reshape(-1, 24), head_settings("reweighted"))
    assert exact.score(features).image[0] == 0.0


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38, 1e25])
@pytest.mark.parametrize("scoring", ["reweighted", "maximum"])
def test_features_without_finite_distances_are_refused(scoring: str, value: float) -> None:
    rng = np.random.default_rng(9)
    head = MemoryBankHead(np.ones((20, 24), np.float32), head_settings(scoring))
    features = levels(rng, 2)
    features[0][1, 3, 5, 5] = value
    with pytest.raises(ValueError, match=r"NaN or infinity|exceeds float32"):
        head.score(features)


@pytest.mark.parametrize(("rows", "neighbors"), [(1, 9), (5, 1)])
def test_reweighting_needs_two_rows_and_neighbours(rows: int, neighbors: int) -> None:
    bank = np.ones((rows, 24), np.float32)
    with pytest.raises(SettingError, match=f"got {rows} rows and neighbors={neighbors}"):
        MemoryBankHead(bank, head_settings("reweighted", neighbors=neighbors))
    MemoryBankHead(bank, head_settings("maximum", neighbors=1))


def test_an_engine_with_the_maximum_scores_squared_distances(
    tiny: TinyEngine, tmp_path: Path
) -> None:
    path = tmp_path / "part.pyad"
    engine = write_engine(path, tiny.data, tiny.backbone, scoring="maximum", aggregation="average")
    runtime = Runtime(path)
    assert "squared" in runtime.info["score_meaning"]
    for picture, score in engine.scores.items():
        result = runtime.infer(read_image(picture))
        assert result.score == score
        assert result.nearest.distance == pytest.approx(score**0.5, rel=1e-6)
    # A level too few gives vectors of another length: a fault, not a guess.
    whole = build_pipeline(runtime.engine)
    content = bytes(runtime.engine.tensors["network/onnx"])
    pipeline = Pipeline(
        preprocessing=whole.preprocessing,
        backend=OnnxRuntimeBackend(content, outputs=("layer2",), input_size=whole.input_size),
        head=whole.head,
        sigma=whole.sigma,
    )
    with pytest.raises(BackendError, match=r"cannot be scored: .*\(Q, 24\)"):
        pipeline.score([np.zeros((64, 64), np.uint8)])
