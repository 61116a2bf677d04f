from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ops.harness import check

import pyad_edge.reference.nearest_neighbors as reference
from pyad_edge.ops.nearest_neighbors import MemoryBank, nearest_neighbors
from pyad_edge.reference.nearest_neighbors import canonical_distances

expected = reference.nearest_neighbors

SHAPES = [
    (1, 1, 1, 1),
    (5, 7, 3, 2),
    (33, 32, 16, 1),
    (100, 333, 67, 3),
    (13, 65, 129, 65),
    (197, 31, 384, 1),
]


def features(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Like a backbone's: not negative, many zeros, correlated channels."""
    low_rank = rng.normal(size=(shape[0], 5)) @ rng.normal(size=(5, shape[1]))
    return np.maximum(low_rank + 0.3 * rng.normal(size=shape), 0).astype(np.float32)


@pytest.mark.parametrize(("Q", "M", "D", "k"), SHAPES)
def test_equals_the_reference_to_the_last_bit(Q: int, M: int, D: int, k: int) -> None:
    rng = np.random.default_rng(Q)
    check(nearest_neighbors, expected, features(rng, Q, D), features(rng, M, D), k=k)


@pytest.mark.parametrize("scale", [1e-42, 1e-30, 1e-8, 1e8, 1e14, 1e17, 1e25])
def test_extreme_magnitudes_stay_exact(scale: float) -> None:
    rng = np.random.default_rng(3)
    queries = (rng.normal(size=(9, 21)) * scale).astype(np.float32)
    bank = (rng.normal(size=(70, 21)) * scale).astype(np.float32)
    check(nearest_neighbors, expected, queries, bank, k=4)


def test_one_huge_row_among_ordinary_ones() -> None:
    rng = np.random.default_rng(4)
    queries, bank = features(rng, 20, 33), features(rng, 50, 33)
    bank[17] = 3e18
    queries[5] = -2e16
    check(nearest_neighbors, expected, queries, bank, k=3)


def test_overflowing_distances_are_infinite_and_ordered_by_index() -> None:
    bank = np.full((3, 4), 3e38, np.float32)
    distances, indices = nearest_neighbors(-bank[:1], bank, k=3)
    assert np.isinf(distances).all()
    assert indices.tolist() == [[0, 1, 2]]


def test_far_from_the_origin_the_screen_still_excludes_nothing() -> None:
    # A common offset of 1e4 makes the norms 1e8 times the squared distances.
    rng = np.random.default_rng(5)
    queries = (1e4 + rng.normal(size=(40, 64))).astype(np.float32)
    bank = (1e4 + rng.normal(size=(200, 64))).astype(np.float32)
    queries[0] = 0  # and one query far away from all rows
    check(nearest_neighbors, expected, queries, bank, k=2)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 40), st.integers(1, 90), st.integers(1, 40), st.integers(0, 2**32 - 1), st.data()
)
def test_integer_vectors_pin_the_tie_rule(
    Q: int, M: int, D: int, seed: int, data: st.DataObject
) -> None:
    # Small integers: every sum is exact, duplicates and ties abound, zero rows included.
    rng = np.random.default_rng(seed)
    queries = rng.integers(-1, 2, (Q, D)).astype(np.float32)
    bank = rng.integers(-1, 2, (M, D)).astype(np.float32)
    k = data.draw(st.integers(1, M))
    distances, indices = nearest_neighbors(queries, bank, k=k)
    exact = ((queries[:, None].astype(np.int64) - bank.astype(np.int64)) ** 2).sum(-1)
    order = np.argsort(exact, axis=1, kind="stable")[:, :k]
    np.testing.assert_array_equal(indices, order)
    np.testing.assert_array_equal(distances, np.take_along_axis(exact, order, 1))


def test_batching_and_bank_order_do_not_change_the_bits() -> None:
    rng = np.random.default_rng(6)
    queries, bank = features(rng, 230, 48), features(rng, 150, 48)
    whole, rows = nearest_neighbors(queries, bank)
    prepared = MemoryBank(bank)
    for q in range(0, 230, 37):
        part, indices = prepared.search(queries[q : q + 37])
        np.testing.assert_array_equal(part, whole[q : q + 37])
        np.testing.assert_array_equal(indices, rows[q : q + 37])
    order = rng.permutation(150)
    shuffled, permuted = nearest_neighbors(queries, bank[order])
    np.testing.assert_array_equal(shuffled, whole)
    np.testing.assert_array_equal(order[permuted], rows)


def test_canonical_distance_is_close_to_float64() -> None:
    rng = np.random.default_rng(7)
    query, bank = features(rng, 1, 384)[0], features(rng, 300, 384)
    exact = ((bank.astype(np.float64) - query) ** 2).sum(1)
    np.testing.assert_allclose(canonical_distances(query, bank), exact, rtol=1e-6)


def test_refuses_what_it_cannot_search() -> None:
    bank = np.ones((4, 3), np.float32)
    with pytest.raises(ValueError, match=r"queries of shape \(Q, 3\).*got \(2, 5\)"):
        nearest_neighbors(np.ones((2, 5), np.float32), bank)
    with pytest.raises(ValueError, match=r"1 <= k <= 4.*got 5"):
        nearest_neighbors(bank, bank, k=5)
    with pytest.raises(ValueError, match="got 0"):
        nearest_neighbors(bank, bank, k=0)
    for k in (1.5, 2.0, "2", True):
        with pytest.raises(TypeError, match=rf"^\[nearest_neighbors\] .*k as a whole .* got {k!r}"):
            nearest_neighbors(bank, bank, k=k)  # type: ignore[arg-type]
    nearest_neighbors(bank, bank, k=np.int64(2))
    with pytest.raises(TypeError, match="float32 array, got float64"):
        nearest_neighbors(bank.astype(np.float64), bank)
    with pytest.raises(ValueError, match=r"\(M, D\), got \(0, 3\)"):
        MemoryBank(np.empty((0, 3), np.float32))
    for bad in (np.nan, np.inf, -np.inf):
        broken = bank.copy()
        broken[2, 1] = bad
        with pytest.raises(ValueError, match=r"queries contains NaN or infinity .first in row 2"):
            nearest_neighbors(broken, bank)
        with pytest.raises(ValueError, match="bank contains NaN or infinity"):
            MemoryBank(broken)


def test_no_queries_give_no_neighbours() -> None:
    distances, indices = nearest_neighbors(
        np.empty((0, 3), np.float32), np.ones((4, 3), np.float32)
    )
    assert distances.shape == indices.shape == (0, 1)


def test_rows_too_long_for_the_screen_are_searched_canonically() -> None:
    rng = np.random.default_rng(8)
    queries, bank = features(rng, 2, (1 << 17) + 3), features(rng, 35, (1 << 17) + 3)
    check(nearest_neighbors, expected, queries, bank, k=2)
