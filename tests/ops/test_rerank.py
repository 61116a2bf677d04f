from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ops.harness import check

import pyad_edge.reference.rerank as reference
from pyad_edge.ops import nearest_neighbors, rerank

RNG = np.random.default_rng(0)


def features(*shape: int, scale: float = 1.0) -> np.ndarray:
    return (np.maximum(RNG.normal(size=shape), 0) * scale).astype(np.float32)


def some_rows(Q: int, c: int, M: int) -> np.ndarray:
    """Candidates (Q, c) of M rows, different within a query, a fifth of them not found."""
    candidates = np.argsort(RNG.random((Q, M)), axis=1)[:, :c].astype(np.int64)
    candidates[RNG.random((Q, c)) < 0.2] = -1
    return candidates


@pytest.mark.parametrize(
    ("Q", "M", "D", "c", "k"),
    [
        (1, 1, 1, 1, 1),
        (5, 7, 3, 4, 2),
        (40, 90, 16, 90, 9),
        (37, 300, 67, 33, 33),
        (3, 50, 384, 8, 1),
    ],
)
def test_equals_the_reference_to_the_last_bit(Q: int, M: int, D: int, c: int, k: int) -> None:
    check(rerank, reference.rerank, features(Q, D), features(M, D), some_rows(Q, c, M), k=k)


@pytest.mark.parametrize("scale", [1e-42, 1e-30, 1e8, 1e17, 1e25])
def test_extreme_magnitudes(scale: float) -> None:
    queries, rows = features(9, 21, scale=scale), features(30, 21, scale=scale)
    check(rerank, reference.rerank, queries, rows, some_rows(9, 12, 30), k=4)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 20), st.integers(1, 60), st.integers(1, 20), st.integers(0, 2**32 - 1))
def test_all_rows_as_candidates_give_the_exact_search(Q: int, M: int, D: int, seed: int) -> None:
    # Small integers: duplicates and ties abound.
    rng = np.random.default_rng(seed)
    queries = rng.integers(-1, 2, (Q, D)).astype(np.float32)
    rows = rng.integers(-1, 2, (M, D)).astype(np.float32)
    everything = np.stack([rng.permutation(M) for _ in range(Q)])
    k = int(rng.integers(1, M + 1))
    for found, exact in zip(
        rerank(queries, rows, everything, k=k), nearest_neighbors(queries, rows, k=k), strict=True
    ):
        assert found.tobytes() == exact.tobytes()


def test_queries_with_too_few_candidates_say_so() -> None:
    queries, rows = features(3, 5), features(10, 5)
    candidates = np.array([[-1, -1, -1], [-1, 4, -1], [7, 2, -1]])
    distances, indices = rerank(queries, rows, candidates, k=2)
    assert indices[0].tolist() == [-1, -1]
    assert indices[1].tolist() == [4, -1]
    assert sorted(indices[2]) == [2, 7]
    assert np.isinf(distances).tolist() == [[True, True], [False, True], [False, False]]


def test_rows_at_infinite_distance_come_before_none() -> None:
    rows = np.full((3, 4), 3e38, np.float32)
    distances, indices = rerank(-rows[:1], rows, np.array([[2, -1, 1]]), k=3)
    assert np.isinf(distances).all()
    assert indices.tolist() == [[1, 2, -1]]


def test_no_queries_give_no_neighbours() -> None:
    distances, indices = rerank(features(0, 3), features(4, 3), np.empty((0, 2), np.int64))
    assert distances.shape == indices.shape == (0, 1)


def test_refuses_what_it_cannot_order() -> None:
    queries, rows, candidates = features(2, 3), features(4, 3), np.array([[0, 3], [1, -1]])
    for outside in (4, -2, 2**40):
        wrong = candidates.copy()
        wrong[1, 0] = outside
        with pytest.raises(ValueError, match=rf"-1 \(none\) to 3, got {outside}\. .* another bank"):
            rerank(queries, rows, wrong)
    with pytest.raises(ValueError, match=r"1 <= k <= 2 \(candidates\), got 3"):
        rerank(queries, rows, candidates, k=3)
    with pytest.raises(ValueError, match=r"got \(2, 3\), \(4, 2\) and \(2, 2\)"):
        rerank(queries, rows[:, :2], candidates)
    with pytest.raises(ValueError, match=r"none of M, D, c zero"):
        rerank(queries, rows[:0], candidates)
    with pytest.raises(ValueError, match="two dimensions"):
        rerank(queries[0], rows, candidates)
    with pytest.raises(TypeError, match="candidates as a int64 array, got int32"):
        rerank(queries, rows, candidates.astype(np.int32))
    with pytest.raises(TypeError, match="rows as a float32 array, got list"):
        rerank(queries, rows.tolist(), candidates)  # type: ignore[arg-type]
    broken = queries.copy()
    broken[1, 2] = np.inf
    with pytest.raises(ValueError, match=r"queries contains NaN or infinity .first in row 1"):
        rerank(broken, rows, candidates)
    broken = rows.copy()
    broken[1, 0] = np.nan
    with pytest.raises(ValueError, match="rows contains NaN"):
        rerank(queries, broken, candidates)
    assert np.isfinite(rerank(queries[:1], broken, candidates[:1])[0]).all()  # row 1 was not met
