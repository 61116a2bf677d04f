"""The head's one native call against the operations that it is made of, bit for bit."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from pyad_edge import ops
from pyad_edge.bfloat16 import channels_last, widened
from pyad_edge.engine_manifest import MemoryBankHead as HeadSettings
from pyad_edge.heads.memory_bank import MemoryBankHead, PatchScores
from pyad_edge.heads.patch_scores import composed
from pyad_edge.ops import MemoryBank, patch_aggregation

Array = NDArray[np.float32]
Levels = list[Array]


@pytest.fixture(autouse=True)
def settings_restored() -> Iterator[None]:
    threads, level = ops.num_threads(), ops.cpu_level()
    yield
    ops.set_num_threads(threads)
    ops.set_cpu_level(level)


def settings(scoring: str, *, variant: str = "official", dim: int = 48, k: int = 5) -> HeadSettings:
    size = dim if variant == "official" else None
    return HeadSettings.model_validate(
        {
            "type": "memory_bank",
            "aggregation": {"variant": variant, "pre_dim": size, "target_dim": size},
            "scoring": scoring,
            "neighbors": k,
        }
    )


def levels_of(rng: np.random.Generator, N: int, h: int, w: int) -> Levels:
    shapes = ((N, 20, h, w), (N, 28, -(-h // 2), -(-w // 2)))
    return [rng.gamma(1.0, size=shape).astype(np.float32) for shape in shapes]


def plain(features: Levels, bank: Array, chosen: HeadSettings) -> PatchScores:
    """Embedding, search and eq. 7 as single operations with NumPy's exponential."""
    aggregation = chosen.aggregation
    patches = patch_aggregation(
        features,
        variant=aggregation.variant,
        pre_dim=aggregation.pre_dim,
        target_dim=aggregation.target_dim,
    )
    N, h, w, D = patches.shape
    searched = MemoryBank(bank)
    squared, rows = (a.reshape(N, h, w) for a in searched.search(patches.reshape(-1, D)))
    distances = np.sqrt(squared)
    if chosen.scoring == "maximum":
        return PatchScores(squared.reshape(N, -1).max(axis=1), squared, rows, distances)
    image = np.empty(N, np.float32)
    k = min(chosen.neighbors, len(bank))
    for n in range(N):
        winner = int(squared[n].argmax())
        largest = math.sqrt(float(squared[n].flat[winner]))
        _, near = searched.search(bank[rows[n].flat[winner]][np.newaxis], k=k)
        query = patches[n].reshape(-1, D)[winner : winner + 1]
        around, _ = MemoryBank(bank[near[0]]).search(query, k=k)
        exponents = np.sqrt(around[0].astype(np.float64))
        shift = float(exponents.max())
        total = float(np.exp(exponents - shift).sum())
        image[n] = largest * (1.0 - math.exp(largest - shift) / total)
    return PatchScores(image, distances, rows, distances)


def same(a: PatchScores, b: PatchScores) -> None:
    for name in ("image", "patch", "rows", "distances"):
        left, right = getattr(a, name), getattr(b, name)
        assert left.dtype == right.dtype
        assert left.shape == right.shape
        assert left.tobytes() == right.tobytes(), name


@pytest.mark.parametrize("level", ops.available_cpu_levels())
@pytest.mark.parametrize("scoring", ["reweighted", "maximum"])
@pytest.mark.parametrize("variant", ["official", "average"])
def test_equal_to_the_operations(level: str, scoring: str, variant: str) -> None:
    ops.set_cpu_level(level)
    rng = np.random.default_rng(3)
    chosen = settings(scoring, variant=variant)
    bank = rng.gamma(1.0, size=(150, 48)).astype(np.float32)
    bank[100:] = bank[:50]  # ties go to the smallest row
    head = MemoryBankHead(bank, chosen)
    for N, h, w in ((1, 13, 9), (3, 7, 12), (5, 1, 1), (1, 30, 5)):
        features = levels_of(rng, N, h, w)
        expected = plain(features, bank, chosen)
        for threads in (1, 2, 5):
            ops.set_num_threads(threads)
            same(head.score(features), expected)
            out = head.empty(N, h, w)
            for array in (out.image, out.patch, out.distances):
                array.fill(np.nan)
            assert head.score(features, out=out) is out
            same(out, expected)


@pytest.mark.parametrize("level", ops.available_cpu_levels())
@pytest.mark.parametrize("variant", ["official", "average"])
def test_bfloat16_features_score_as_the_same_numbers_in_float32(level: str, variant: str) -> None:
    ops.set_cpu_level(level)
    rng = np.random.default_rng(11)
    chosen = settings("reweighted", variant=variant)
    bank = rng.gamma(1.0, size=(150, 48)).astype(np.float32)
    head = MemoryBankHead(bank, chosen)
    for N, h, w in ((1, 13, 9), (3, 7, 12), (5, 1, 1), (1, 30, 5)):
        coarse = [(one.view(np.uint32) >> 16).astype(np.uint16) for one in levels_of(rng, N, h, w)]
        expected = head.score([widened(one) for one in coarse])
        same(head.score([channels_last(one) for one in coarse]), expected)
        same(head.score(coarse), expected)  # channels first: copied
        same(composed(coarse, chosen, search=MemoryBank(bank), rows=bank), expected)


def test_features_of_other_types_are_refused() -> None:
    rng = np.random.default_rng(12)
    head = MemoryBankHead(rng.gamma(1.0, size=(9, 48)).astype(np.float32), settings("maximum"))
    features = levels_of(rng, 1, 6, 6)
    for kind in (np.float16, np.int16, np.float64):
        with pytest.raises(TypeError, match=f"bfloat16 as uint16.*got {np.dtype(kind)}"):
            head.score([features[0], features[1].astype(kind)])


def test_a_contracted_bank_of_real_size() -> None:
    rng = np.random.default_rng(4)
    mixing = rng.standard_normal((24, 300)).astype(np.float32)
    bank = rng.standard_normal((5000, 24)).astype(np.float32) @ mixing
    chosen = HeadSettings.model_validate(
        {
            "type": "memory_bank",
            "aggregation": {"variant": "official", "pre_dim": 300, "target_dim": 300},
            "scoring": "reweighted",
            "neighbors": 9,
        }
    )
    features = [rng.standard_normal((2, 300, 14, 14)).astype(np.float32) * 5]
    same(MemoryBankHead(bank, chosen).score(features), plain(features, bank, chosen))


def test_features_of_any_strides_and_sizes_in_turn() -> None:
    rng = np.random.default_rng(5)
    chosen = settings("reweighted")
    bank = rng.gamma(1.0, size=(60, 48)).astype(np.float32)
    head = MemoryBankHead(bank, chosen)
    for h, w in ((8, 8), (4, 10), (8, 8), (16, 6)):
        features = levels_of(rng, 2, h, w)
        strided = [np.repeat(level, 2, axis=3)[..., ::2] for level in features]
        same(head.score(strided), plain(features, bank, chosen))


def test_eight_callers_at_once() -> None:
    rng = np.random.default_rng(6)
    chosen = settings("reweighted")
    bank = rng.gamma(1.0, size=(200, 48)).astype(np.float32)
    head = MemoryBankHead(bank, chosen)
    features = [levels_of(rng, 1, 12, 12) for _ in range(8)]
    expected = [plain(one, bank, chosen) for one in features]
    found: list[list[PatchScores]] = [[] for _ in features]

    def score(i: int) -> None:
        for _ in range(12):
            found[i].append(head.score(features[i]))

    callers = [threading.Thread(target=score, args=(i,)) for i in range(8)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    for results, one in zip(found, expected, strict=True):
        assert len(results) == 12
        for result in results:
            same(result, one)


@pytest.mark.parametrize("scoring", ["reweighted", "maximum"])
def test_patches_that_do_not_count(scoring: str) -> None:
    rng = np.random.default_rng(7)
    chosen = settings(scoring)
    bank = rng.gamma(1.0, size=(60, 48)).astype(np.float32)
    head = MemoryBankHead(bank, chosen)
    features = levels_of(rng, 3, 9, 7)
    whole = head.score(features)
    valid = np.ones((3, 9, 7), np.uint8)
    for n in range(3):  # the winner, and others
        valid[n].flat[whole.patch[n].argmax()] = 0
    valid[:, 2:4, 3:] = 0
    found = head.score(features, valid=valid)
    same(found, composed(features, chosen, search=MemoryBank(bank), rows=bank, valid=valid))
    counts = valid != 0
    assert (found.patch[~counts] == 0).all()
    assert (found.distances[~counts] == 0).all()
    assert (found.rows[~counts] == -1).all()
    assert found.patch[counts].tobytes() == whole.patch[counts].tobytes()
    assert (found.image < whole.image).any()
    same(head.score(features, valid=np.ones_like(valid)), whole)
    valid[1] = 0
    with pytest.raises(ValueError, match="got none in picture 1"):
        head.score(features, valid=valid)
    with pytest.raises(ValueError, match="valid of shape"):
        head.score(features, valid=valid[:2])


def test_reweight_gives_the_bits_of_score() -> None:
    rng = np.random.default_rng(8)
    chosen = settings("reweighted")
    bank = rng.gamma(1.0, size=(80, 48)).astype(np.float32)
    head = MemoryBankHead(bank, chosen)
    features = levels_of(rng, 4, 6, 6)
    scores = head.score(features)
    patches = patch_aggregation(features, pre_dim=48, target_dim=48).reshape(4, -1, 48)
    squared, rows = MemoryBank(bank).search(patches.reshape(-1, 48))
    for n in range(4):
        own = squared.reshape(4, -1)[n]
        winner = int(own.argmax())
        score = head.reweight(
            patches[n, winner], float(own[winner]), int(rows.reshape(4, -1)[n, winner])
        )
        assert np.float32(score) == scores.image[n]


def test_what_does_not_fit_is_refused() -> None:
    rng = np.random.default_rng(9)
    head = MemoryBankHead(rng.gamma(1.0, size=(80, 48)).astype(np.float32), settings("maximum"))
    features = levels_of(rng, 2, 6, 6)
    with pytest.raises(ValueError, match=r"expected out of shape \(2, 6, 6\)"):
        head.score(features, out=head.empty(1, 6, 6))
    with pytest.raises(TypeError, match="float32"):
        head.score([level.astype(np.float64) for level in features])
    with pytest.raises(ValueError, match="hold 2 pictures"):
        head.score([features[0], features[1][:1]])
    with pytest.raises(ValueError, match="expected"):
        head.score([])
