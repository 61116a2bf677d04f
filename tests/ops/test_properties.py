"""Properties of the kernels that promise one answer to the last bit: search and selection."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ops.harness import check, every_form
from ops.strategies import rows, seeds

import pyad_edge.reference.greedy_coreset as plain_coreset
import pyad_edge.reference.nearest_neighbors as plain_search
from pyad_edge.ops import greedy_coreset, nearest_neighbors
from pyad_edge.ops.nearest_neighbors import MemoryBank

sizes = st.one_of(st.integers(1, 5), st.sampled_from([11, 12, 13, 31, 32, 33, 47]))
dims = st.one_of(st.integers(1, 8), st.sampled_from([15, 16, 17, 31, 32, 33, 63, 64, 65, 130]))


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_neighbors_are_those_of_the_reference_in_every_form(data: st.DataObject) -> None:
    D = data.draw(dims)
    queries, bank = data.draw(rows(data.draw(sizes), D)), data.draw(rows(data.draw(sizes), D))
    k = data.draw(st.integers(1, min(len(bank), 6)))
    check(nearest_neighbors, plain_search.nearest_neighbors, queries, bank, k=k)


@settings(max_examples=40, deadline=None)
@given(st.data(), seeds)
def test_neighbors_follow_a_permuted_bank(data: st.DataObject, seed: int) -> None:
    D = data.draw(dims)
    queries, bank = data.draw(rows(7, D)), data.draw(rows(data.draw(sizes), D))
    k = data.draw(st.integers(1, len(bank)))
    order = np.random.default_rng(seed).permutation(len(bank))
    distances, indices = nearest_neighbors(queries, bank, k=len(bank))
    for _ in every_form():
        permuted, mapped = nearest_neighbors(queries, bank[order], k=k)
        assert permuted.tobytes() == distances[:, :k].tobytes()
        mapped = order[mapped]
        # Rows at equal distances may come in another order, and at the k-th place be others.
        for q in range(len(queries)):
            below = distances[q] < distances[q, k - 1]
            assert set(mapped[q][permuted[q] < permuted[q, -1]]) == set(indices[q][below])
            tied = indices[q][distances[q] == distances[q, k - 1]]
            assert set(mapped[q][permuted[q] == permuted[q, -1]]) <= set(tied)
            assert len(set(mapped[q])) == k


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_a_query_finds_its_own_copy_first(data: st.DataObject) -> None:
    bank = data.draw(rows(data.draw(sizes), data.draw(dims)))
    distances, indices = nearest_neighbors(bank, bank, k=1)
    assert not distances.any()
    for q, row in enumerate(indices[:, 0]):
        assert row <= q
        # No squared difference above zero: equal, or too near for float32's squares.
        assert plain_search.canonical_distances(bank[q], bank[row : row + 1])[0] == 0


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_queries_in_parts_give_the_bits_of_all_at_once(data: st.DataObject) -> None:
    D = data.draw(dims)
    queries, bank = data.draw(rows(29, D)), MemoryBank(data.draw(rows(data.draw(sizes), D)))
    whole = bank.search(queries)
    cut = data.draw(st.integers(1, 28))
    parts = [bank.search(queries[:cut]), bank.search(queries[cut:])]
    for together, first, second in zip(whole, *parts, strict=True):
        assert together.tobytes() == first.tobytes() + second.tobytes()


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_picks_are_those_of_the_plain_loop_in_every_form(data: st.DataObject) -> None:
    n = data.draw(st.one_of(sizes, st.just(300)))
    points = data.draw(rows(n, data.draw(dims)))
    count = data.draw(st.integers(1, min(n, 40)))
    initial = None
    if data.draw(st.booleans()):
        draw = np.random.default_rng(data.draw(seeds))
        initial = draw.choice(np.array([0, 1, 2, 1e30, np.inf], np.float32), n)
    check(
        greedy_coreset,
        plain_coreset.greedy_coreset,
        points,
        count=count,
        **({} if initial is None else {"initial": initial}),
    )


@settings(max_examples=12, deadline=None)
@given(st.data())
def test_picks_past_the_size_of_a_subset(data: st.DataObject) -> None:
    # More rows than the lazy subset holds (2,048), so that ties straddle its edge.
    points = data.draw(rows(data.draw(st.sampled_from([2048, 2049, 2500])), 3))
    expected = plain_coreset.greedy_coreset(points, count=50)
    for form in every_form():
        assert greedy_coreset(points, count=50).tolist() == expected.tolist(), form


@settings(max_examples=30, deadline=None)
@given(st.data(), st.sampled_from([np.nan, np.inf, -np.inf]))
def test_values_that_are_not_finite_are_refused_wherever_they_are(
    data: st.DataObject, bad: float
) -> None:
    n, D = data.draw(sizes), data.draw(dims)
    array = data.draw(rows(n, D))
    broken = array.copy()
    row = data.draw(st.integers(0, n - 1))
    broken[row, data.draw(st.integers(0, D - 1))] = bad
    with pytest.raises(ValueError, match=rf"queries contains NaN or infinity .first in row {row}"):
        nearest_neighbors(broken, array)
    with pytest.raises(ValueError, match="bank contains NaN or infinity"):
        nearest_neighbors(array, broken)
    with pytest.raises(ValueError, match=f"row {row}"):
        greedy_coreset(broken, count=1)
