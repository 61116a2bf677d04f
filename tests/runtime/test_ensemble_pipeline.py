"""Ensembles: eq. 11 of ReConPatch over members that differ in network, grid and bank."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tiny_models import tiny_backbone

from pyad_edge.backends.onnxruntime import OnnxRuntimeBackend
from pyad_edge.engine_manifest import Aggregation, Fusion, MemoryBankHead, Preprocessing
from pyad_edge.ensemble_pipeline import EnsemblePipeline, fuse
from pyad_edge.heads.memory_bank import MemoryBankHead as Head
from pyad_edge.pipeline import Pipeline, Scores
from pyad_edge.result import Verdict

SIZE = (64, 96)
FUSION = Fusion(
    beta=1.4826,
    median=(2.0, 30.0),
    mad=(0.5, 4.0),
    map_median=(1.0, 20.0),
    map_mad=(0.25, 3.0),
)


def member(seed: int, channels: tuple[int, int]) -> Pipeline:
    dim = sum(channels)
    settings = MemoryBankHead(
        type="memory_bank",
        aggregation=Aggregation(variant="average", pre_dim=None, target_dim=None),
        scoring="reweighted",
        neighbors=5,
    )
    bank = np.random.default_rng(seed).gamma(2.0, 0.1, (200, dim)).astype(np.float32)
    return Pipeline(
        preprocessing=Preprocessing(
            resize=SIZE,
            crop=None,
            mean=(0.485, 0.456, 0.406),
            std=(0.229 * (1 + seed), 0.224, 0.225),
            color_order="rgb",
        ),
        backend=OnnxRuntimeBackend(
            tiny_backbone(channels), outputs=("layer2", "layer3"), input_size=SIZE, threads=1
        ),
        head=Head(bank, settings),
        sigma=4.0,
    )


def frame(seed: int) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (70, 101, 3), np.uint8)


@pytest.fixture(scope="module")
def members() -> tuple[Pipeline, Pipeline]:
    return member(0, (8, 16)), member(1, (12, 20))


@pytest.fixture(scope="module")
def ensemble(members: tuple[Pipeline, Pipeline]) -> EnsemblePipeline:
    return EnsemblePipeline(members, FUSION)


def test_scores_are_the_mean_of_modified_z_scores(
    members: tuple[Pipeline, Pipeline], ensemble: EnsemblePipeline
) -> None:
    frames = [frame(n) for n in range(3)]
    alone = [one.score(frames) for one in members]
    found = ensemble.score(frames)
    z = [
        (s.image.astype(np.float64) - FUSION.median[n]) / (1.4826 * FUSION.mad[n])
        for n, s in enumerate(alone)
    ]
    np.testing.assert_allclose(found.image, np.mean(z, axis=0), rtol=1e-6)
    maps = [
        (s.maps.astype(np.float64) - FUSION.map_median[n]) / (1.4826 * FUSION.map_mad[n])
        for n, s in enumerate(alone)
    ]
    np.testing.assert_allclose(found.maps, np.mean(maps, axis=0), rtol=1e-5, atol=1e-5)
    assert found.map_maxima.tobytes() == found.maps.max(axis=(1, 2)).tobytes()
    assert found.patches is None
    assert found.timings["backbone"] > 0
    assert "fusion" in found.timings


def test_hand_computed_modified_z_score() -> None:
    def scores(value: float) -> Scores:
        maps = np.full((1, 2, 2), value, np.float32)
        return Scores(np.array([value], np.float32), maps, maps.max(axis=(1, 2)), None, {})

    fusion = Fusion(beta=2.0, median=(1.0, 10.0), mad=(0.5, 5.0), map_median=(0.0, 0.0),
                    map_mad=(1.0, 2.0))  # fmt: skip
    # (3 - 1) / (2 * 0.5) = 2 and (0 - 10) / (2 * 5) = -1; maps 3 / 2 and 0 / 4.
    found = fuse([scores(3.0), scores(0.0)], fusion)
    assert found.image.tolist() == [0.5]
    assert found.maps.tolist() == [[[0.75, 0.75], [0.75, 0.75]]]


def test_earlier_results_keep_their_maps(ensemble: EnsemblePipeline) -> None:
    first = ensemble.score([frame(1)])
    kept = first.maps.tobytes()
    ensemble.score([frame(2)])
    assert first.maps.tobytes() == kept
    assert ensemble.score([frame(1)]).maps.tobytes() == kept


def test_decision_is_that_of_the_score(ensemble: EnsemblePipeline) -> None:
    score = float(ensemble.score([frame(5)]).image[0])
    cases = ((score + 1, Verdict.OK), (score - 1, Verdict.NG), (score, Verdict.OK))
    for limit, wanted in cases:
        decision, _ = ensemble.decide(frame(5), limit=limit)
        assert (decision.verdict, decision.score, decision.settled) == (wanted, score, "search")


def test_threads_give_the_same_bits(ensemble: EnsemblePipeline) -> None:
    frames = [frame(n) for n in range(4)]
    alone = [ensemble.score([f]) for f in frames]
    found: dict[int, Any] = {}

    def work(n: int) -> None:
        found[n] = [ensemble.score([frames[n % 4]]) for _ in range(5)]

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for n, scores in found.items():
        for one in scores:
            assert one.image.tobytes() == alone[n % 4].image.tobytes()
            assert one.maps.tobytes() == alone[n % 4].maps.tobytes()
