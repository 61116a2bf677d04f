"""Certifier and Runtime.decide: the full search's verdict, on frames made to tell them apart."""

from __future__ import annotations

import dataclasses
import math
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from ops.harness import every_form
from tiny_engine import TinyEngine

from pyad_edge import Runtime, Verdict, read_image
from pyad_edge.engine_manifest import Aggregation
from pyad_edge.engine_manifest import MemoryBankHead as HeadSettings
from pyad_edge.errors import BackendError
from pyad_edge.heads.decide import LARGEST_BAR, Certifier, largest_within
from pyad_edge.heads.memory_bank import MemoryBankHead
from pyad_edge.heads.patch_scores import embed
from pyad_edge.heads.witness_plan import witness_plan

Array = NDArray[np.float32]
Scoring = Literal["reweighted", "maximum"]
GRID, C, D = (6, 9), (5, 7), 10


def make_head(bank: Array, scoring: Scoring = "reweighted") -> MemoryBankHead:
    """A head of two levels with 5 and 7 channels, up-sampled to 6 x 9 patches of 10 dims."""
    aggregation = Aggregation(variant="official", pre_dim=8, target_dim=D)
    settings_of = HeadSettings(
        type="memory_bank", aggregation=aggregation, scoring=scoring, neighbors=3
    )
    return MemoryBankHead(bank, settings_of)


def make_features(rng: np.random.Generator, *, coarse: bool = False) -> list[Array]:
    shapes = ((1, C[0], *GRID), (1, C[1], 3, 5))
    if coarse:  # many equal patches and distances
        return [rng.integers(0, 2, shape).astype(np.float32) for shape in shapes]
    return [rng.gamma(2.0, 1.0, shape).astype(np.float32) for shape in shapes]


def make_positions(rng: np.random.Generator, rows: int) -> NDArray[np.int32]:
    return np.stack([rng.integers(0, n, rows, dtype=np.int32) for n in GRID], axis=1)


def limits_around(*scores: float) -> Iterator[float]:
    """Each score, its float32 and float64 neighbours, and limits far from all."""
    yield from (-1.0, 0.0, 1e35)
    for score in scores:
        yield score
        for toward in (-math.inf, math.inf):
            yield math.nextafter(score, toward)
            yield float(np.nextafter(np.float32(score), np.float32(toward)))


def assert_agrees(head: MemoryBankHead, certifier: Certifier, features: list[Array]) -> None:
    full = head.score(features)
    score = float(full.image[0])
    largest = float(full.patch.max())  # between the two the weight alone decides
    for limit in limits_around(score, largest, float(np.median(full.patch))):
        for review in (None, limit * 0.5 if limit > 0 else limit - 1.0, score):
            for exact in (False, True):
                found = certifier.decide(features, limit=limit, review=review, score=exact)
                assert found.verdict is Verdict.of(score, limit, review), (limit, review, found)
                assert found.score == score if exact else found.score in (None, score)
                assert 0 <= found.searched <= found.patches == GRID[0] * GRID[1]
                assert found.settled == ("early" if found.searched == 0 else "search")


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    rows=st.integers(2, 150),
    scoring=st.sampled_from(["reweighted", "maximum"]),
    kind=st.sampled_from(["random", "coarse", "equal rows", "in the bank", "huge"]),
)
def test_every_verdict_is_the_full_searchs(
    seed: int, rows: int, scoring: Scoring, kind: str
) -> None:
    rng = np.random.default_rng(seed)
    features = make_features(rng, coarse=kind == "coarse")
    bank = rng.gamma(2.0, 1.0, (rows, D)).astype(np.float32)
    if kind == "coarse":
        bank = rng.integers(0, 2, (rows, D)).astype(np.float32)
    elif kind == "equal rows":
        bank[:] = bank[0]
    elif kind == "in the bank":
        own = make_head(bank, "maximum")
        bank = np.concatenate([embed(features, own.settings).reshape(-1, D), bank])
    elif kind == "huge":
        features[0][0, 0, 2, 3] = 1e14
    head = make_head(bank, scoring)
    assert_agrees(head, Certifier(head, make_positions(rng, len(bank)), GRID), features)


@pytest.mark.parametrize("scoring", ["reweighted", "maximum"])
def test_every_level_and_thread_count_agrees(scoring: Scoring) -> None:
    rng = np.random.default_rng(5)
    bank = rng.gamma(2.0, 1.0, (300, D)).astype(np.float32)
    features, positions = make_features(rng), make_positions(rng, 300)
    for _ in every_form():
        head = make_head(bank, scoring)
        assert_agrees(head, Certifier(head, positions, GRID), features)


def test_a_bank_of_one_row() -> None:
    rng = np.random.default_rng(6)
    head = make_head(rng.gamma(2.0, 1.0, (1, D)).astype(np.float32), "maximum")
    assert_agrees(head, Certifier(head, make_positions(rng, 1), GRID), make_features(rng))


def test_most_patches_of_a_normal_picture_are_never_searched() -> None:
    rng = np.random.default_rng(7)
    head = make_head(rng.gamma(2.0, 1.0, (2000, D)).astype(np.float32))
    features = make_features(rng)
    limit = float(head.score(features).patch.max()) * 1.2
    found = Certifier(head, make_positions(rng, 2000), GRID).decide(features, limit=limit)
    assert (found.verdict, found.settled, found.score) == (Verdict.OK, "early", None)


@pytest.mark.parametrize("scoring", ["reweighted", "maximum"])
def test_patches_that_do_not_count(scoring: Scoring) -> None:
    rng = np.random.default_rng(8)
    head = make_head(rng.gamma(2.0, 1.0, (200, D)).astype(np.float32), scoring)
    certifier = Certifier(head, make_positions(rng, 200), GRID)
    features = make_features(rng)
    valid = (rng.random((1, *GRID)) < 0.4).astype(np.uint8)
    score = float(head.score(features, valid=valid).image[0])
    assert score != float(head.score(features).image[0])
    for limit in limits_around(score):
        found = certifier.decide(features, limit=limit, valid=valid)
        assert found.verdict is Verdict.of(score, limit, None)
    assert certifier.decide(features, limit=1e9, valid=valid, score=True).score == score
    with pytest.raises(ValueError, match="at least one patch"):
        certifier.decide(features, limit=1e9, valid=np.zeros_like(valid))


def test_a_row_that_is_out_of_float32s_reach_does_not_part_infer_and_decide() -> None:
    rng = np.random.default_rng(11)
    bank = rng.gamma(2.0, 1.0, (2, D)).astype(np.float32)
    bank[1] *= np.float32(3e19)  # its squared distance to every patch overflows
    head = make_head(bank)
    features = make_features(rng)
    full = head.score(features)
    assert full.image[0] == full.patch.max() < 1e9  # the far neighbour takes no weight
    assert_agrees(head, Certifier(head, make_positions(rng, 2), GRID), features)


def test_arrays_come_as_for_the_full_search() -> None:
    rng = np.random.default_rng(12)
    head = make_head(rng.gamma(2.0, 1.0, (200, D)).astype(np.float32))
    certifier = Certifier(head, make_positions(rng, 200), GRID)
    features = make_features(rng)
    valid = (rng.random((1, *GRID)) < 0.6).astype(np.uint8)
    strided = [np.repeat(level, 2, axis=3)[..., ::2] for level in features]
    apart = np.repeat(valid, 2, axis=2)[..., ::2]
    score = head.score(features, valid=valid).image[0]
    assert head.score(strided, valid=apart).image[0] == score
    found = certifier.decide(strided, limit=1.0, valid=apart, score=True)
    assert found == certifier.decide(features, limit=1.0, valid=valid, score=True)
    assert found.score == score
    with pytest.raises(ValueError, match="expected valid of shape"):
        certifier.decide(features, limit=1.0, valid=valid[0])
    with pytest.raises(TypeError, match="float32"):
        certifier.decide([level.astype(np.float64) for level in features], limit=1.0)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_picture_that_is_not_finite_has_no_verdict(value: float) -> None:
    rng = np.random.default_rng(9)
    head = make_head(rng.gamma(2.0, 1.0, (200, D)).astype(np.float32))
    features = make_features(rng)
    features[0][0, 2, 3, 4] = value
    with pytest.raises(ValueError, match="NaN or infinity"):
        Certifier(head, make_positions(rng, 200), GRID).decide(features, limit=1e9)


def test_other_grids_and_unknown_positions_are_searched() -> None:
    rng = np.random.default_rng(10)
    head = make_head(rng.gamma(2.0, 1.0, (200, D)).astype(np.float32))
    features = make_features(rng)
    for certifier in (
        Certifier(head, None, GRID),
        Certifier(head, make_positions(rng, 200), (GRID[0] + 1, GRID[1])),
    ):
        found = certifier.decide(features, limit=1e9)
        assert (found.verdict, found.searched) == (Verdict.OK, found.patches)
        assert found.score == float(head.score(features).image[0])


@settings(max_examples=200, deadline=None)
@given(limit=st.floats(-1.0, 1e18, allow_nan=False), squared=st.booleans())
def test_the_bar_is_the_last_distance_within_the_limit(limit: float, squared: bool) -> None:
    bar = largest_within(limit, squared=squared)
    if limit < 0:
        assert bar == -1
        return
    after = np.nextafter(bar, np.float32(np.inf))
    score = [float(x if squared else np.sqrt(x)) for x in (bar, after)]
    assert score[0] <= limit
    assert score[1] > limit or not np.isfinite(after)


def test_limits_that_bar_nothing_and_everything() -> None:
    assert largest_within(math.inf, squared=True) == np.finfo(np.float32).max
    assert largest_within(-1e-300, squared=False) == -1
    assert largest_within(0.0, squared=True) == 0
    assert LARGEST_BAR.dtype == np.float32


@pytest.mark.parametrize("rows", [1, 31, 33, 1000])
def test_a_plan_holds_every_row_once_and_lists_near_panels_first(rows: int) -> None:
    rng = np.random.default_rng(rows)
    positions = make_positions(rng, rows)
    plan = witness_plan(positions, GRID, cell=(2, 4), walk=5)
    assert (plan.strips, plan.columns) == (3, 3)
    assert np.array_equal(np.sort(plan.order), np.arange(rows))
    panels = -(-rows // 32)
    assert plan.panels.shape == (3, 3, min(5, panels))
    assert all(len(set(listed)) == len(listed) for listed in plan.panels.reshape(9, -1).tolist())
    if rows < 1000:
        return
    own = positions[plan.order]
    first = own[plan.panels[0, 0, 0] * 32 :][:32].mean(axis=0)
    last = own[plan.panels[2, 2, 0] * 32 :][:32].mean(axis=0)
    assert (first < last).all()


@pytest.fixture(scope="module")
def frames(tiny: TinyEngine) -> list[NDArray[np.uint8]]:
    return [read_image(path) for path in sorted(Path(tiny.data).glob("test/*/*.png"))]


def test_runtime_decides_as_it_infers(tiny: TinyEngine, frames: list[NDArray[np.uint8]]) -> None:
    runtime = Runtime(tiny.path)
    scores = [runtime.infer(frame).score for frame in frames]
    for limit in limits_around(*scores[:3], float(np.median(scores))):
        if limit <= 0:
            continue
        runtime.set_threshold(value=limit, review=limit * 0.9)
        for frame, score in zip(frames, scores, strict=True):
            expected, found = runtime.infer(frame), runtime.decide(frame)
            assert found.verdict is expected.verdict
            assert found.score in (None, score)
            assert (found.threshold, found.review_threshold) == (limit, limit * 0.9)
    assert runtime.decide(frames[0], score=True).score == scores[0]
    mapped = runtime.decide(frames[0], anomaly_map=True)
    assert mapped.anomaly_map is not None
    assert np.array_equal(mapped.anomaly_map, runtime.infer(frames[0]).anomaly_map)
    assert set(runtime.decide(frames[0]).timings) == {"preprocess", "backbone", "head", "total"}


def test_threads_that_decide_at_once_agree(
    tiny: TinyEngine, frames: list[NDArray[np.uint8]]
) -> None:
    runtime = Runtime(tiny.path)
    expected = [runtime.infer(frame).verdict for frame in frames]
    found: dict[int, list[Verdict]] = {}

    def work(n: int) -> None:
        found[n] = [runtime.decide(frame).verdict for frame in frames]

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(found.values()) == [expected] * 4


def test_a_network_that_fails_is_a_fault(
    tiny: TinyEngine, frames: list[NDArray[np.uint8]], monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = Runtime(tiny.path)
    runtime.decide(frames[0])
    certifier = runtime.pipeline._certifier
    assert certifier is not None

    def broken(*_: object, **__: object) -> None:
        raise ValueError("[x] NaN.")

    monkeypatch.setattr(certifier, "decide", broken)
    with pytest.raises(BackendError, match=r"\[decide\] the network's output"):
        runtime.decide(frames[0])


def test_a_decision_is_plain_data(tiny: TinyEngine, frames: list[NDArray[np.uint8]]) -> None:
    found = Runtime(tiny.path).decide(frames[0], score=True)
    data = found.to_dict()
    assert data["patches"] == found.patches
    assert data["settled"] == found.settled
    assert dataclasses.is_dataclass(found)
