"""Every screen of nearest_neighbors, contracted and not: they may only change how long it takes."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import pytest
from ops.harness import assert_bit_equal, every_form, poisoned_outputs

from pyad_edge.ops import MemoryBank, threads
from pyad_edge.ops._native import native
from pyad_edge.ops._principal import principal_basis
from pyad_edge.reference.nearest_neighbors import nearest_neighbors as reference


def features(rng: np.random.Generator, rows: int, dim: int) -> np.ndarray:
    """A decaying spectrum, as a backbone's features have."""
    scales = 0.97 ** np.arange(dim)
    rotation = np.linalg.qr(np.random.default_rng(1).standard_normal((dim, dim)))[0]
    values = (rng.standard_normal((rows, dim)) * scales) @ rotation
    return np.maximum(values + 0.1, 0).astype(np.float32)


def screens() -> Iterator[str]:
    """The screens of the level in use."""
    bank = np.ones((3, 4), np.float32)
    for screen in ("float32", "bfloat16", "int8"):
        try:
            yield MemoryBank(bank, screen=screen).screen  # type: ignore[arg-type]
        except ValueError as error:
            assert f"no {screen} screen" in str(error)  # noqa: PT017


@pytest.fixture(scope="module")
def large() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    queries, bank = features(rng, 61, 300), features(rng, 4200, 300)
    bank[700] = bank[20]  # a duplicate, and a query on it
    queries[5] = bank[20]
    queries[6] = 0
    queries[7] = bank.mean(axis=0) + 40  # far away from everything
    return queries, bank


def test_every_screen_gives_the_reference(large: tuple[np.ndarray, np.ndarray]) -> None:
    queries, bank = large
    expected = {k: reference(queries, bank, k=k) for k in (1, 2, 7, 40)}
    contracted = set()
    before = threads.cpu_level()
    try:
        for level in threads.available_cpu_levels():
            threads.set_cpu_level(level)
            for screen, contract in itertools.product(screens(), (True, False)):
                prepared = MemoryBank(bank, screen=screen, contract=contract)  # type: ignore[arg-type]
                contracted.add(prepared.screened_dim)
                assert prepared.screen == screen
                for k, count in itertools.product(expected, (1, 3)):
                    with threads_set(count), poisoned_outputs():
                        found = prepared.search(queries, k=k)
                    assert_bit_equal(found, expected[k], f"{level}, {screen}, {contract}, {k}")
    finally:
        threads.set_cpu_level(before)
    assert len(contracted) == 2, "the bank of this test is meant to be contracted"
    assert max(contracted) == 300


def test_a_bank_of_many_chunks() -> None:
    # The first pass writes 1.5 MB of levels for 96 queries: 16,384 rows at a time.
    rng = np.random.default_rng(2)
    queries = rng.standard_normal((97, 6)).astype(np.float32)
    bank = rng.standard_normal((40_000, 6)).astype(np.float32)
    bank[39_990] = bank[5]  # ties across chunks
    queries[96] = bank[5]
    queries[95] = bank[39_000]
    expected = reference(queries, bank, k=2)
    for screen in screens():
        prepared = MemoryBank(bank, screen=screen)  # type: ignore[arg-type]
        for count in (1, 2):
            with threads_set(count):
                assert_bit_equal(prepared.search(queries, k=2), expected, screen)


def test_few_rows_are_evaluated(large: tuple[np.ndarray, np.ndarray]) -> None:
    queries, bank = large
    for screen in screens():
        prepared = MemoryBank(bank, screen=screen, contract=False)  # type: ignore[arg-type]
        distances, indices, evaluated = prepared.search_counted(queries)
        assert_bit_equal((distances, indices), prepared.search(queries), screen)
        assert evaluated.shape == (61,)
        assert evaluated.min() >= 1
        assert np.median(evaluated) < 25, f"{screen} lets {np.median(evaluated)} rows through"


@pytest.mark.parametrize("columns", [1, 31, 32, 70])
def test_a_poor_basis_costs_time_only(columns: int) -> None:
    rng = np.random.default_rng(columns)
    queries, bank = features(rng, 30, 90), features(rng, 200, 90)
    queries[3] *= 1e-20
    basis = np.linalg.qr(rng.standard_normal((90, columns)))[0].astype(np.float32)
    expected = reference(queries, bank, k=3)
    for form in every_form():
        for screen in screens():
            prepared = native.MemoryBank(bank, native.Screen.__members__[screen], basis)
            assert prepared.screened_dim == columns + 1
            found = np.empty((30, 3), np.float32), np.empty((30, 3), np.int64)
            prepared.search(queries, *found, np.empty(0, np.int64))
            assert_bit_equal(found, expected, f"{form}, {screen}")


@pytest.mark.parametrize("scale", [1e-42, 1e-30, 1e-19, 1e-8, 1e8, 1e11, 1e14, 1e17])
def test_contracted_searches_stay_exact_at_extreme_magnitudes(scale: float) -> None:
    rng = np.random.default_rng(3)
    queries = (features(rng, 20, 64) * scale).astype(np.float32)
    bank = (features(rng, 150, 64) * scale).astype(np.float32)
    bank[9] = bank[100]
    basis = np.linalg.qr(rng.standard_normal((64, 15)))[0].astype(np.float32)
    expected = reference(queries, bank, k=2)
    for form in every_form():
        for screen in screens():
            prepared = native.MemoryBank(bank, native.Screen.__members__[screen], basis)
            found = np.empty((20, 2), np.float32), np.empty((20, 2), np.int64)
            prepared.search(queries, *found, np.empty(0, np.int64))
            assert_bit_equal(found, expected, f"{form}, {screen}")


def test_one_far_query_among_others(large: tuple[np.ndarray, np.ndarray]) -> None:
    queries, bank = (array.copy() for array in large)
    queries[11] = 1e20
    bank[33] = -3e14
    expected = reference(queries, bank)
    for screen in screens():
        assert_bit_equal(MemoryBank(bank, screen=screen).search(queries), expected, screen)  # type: ignore[arg-type]


def test_refuses_what_is_no_basis_or_no_screen() -> None:
    bank = np.ones((4, 8), np.float32)
    with pytest.raises(ValueError, match=r"orthonormal columns, got one with .*linalg.qr"):
        native.MemoryBank(bank, native.Screen.__members__["auto"], np.ones((8, 2), np.float32))
    with pytest.raises(ValueError, match="one of auto, float32, bfloat16, int8, got 'fp16'"):
        MemoryBank(bank, screen="fp16")  # type: ignore[arg-type]
    before = threads.cpu_level()
    threads.set_cpu_level("portable")
    try:
        with pytest.raises(ValueError, match=r"no int8 screen .* Use screen='auto'"):
            MemoryBank(bank, screen="int8")
    finally:
        threads.set_cpu_level(before)


def test_small_banks_are_not_contracted() -> None:
    bank = features(np.random.default_rng(5), 1300, 320)
    before = threads.cpu_level()
    try:
        for level in threads.available_cpu_levels():
            threads.set_cpu_level(level)
            # A fast screen leaves little to save.
            fast = MemoryBank(bank).screen == "int8"
            assert (MemoryBank(bank).screened_dim == 320) == fast
            assert MemoryBank(bank[:1000]).screened_dim == 320
    finally:
        threads.set_cpu_level(before)


def test_principal_directions() -> None:
    rng = np.random.default_rng(4)
    bank = features(rng, 1200, 320)
    basis = principal_basis(bank)
    assert basis is not None
    assert basis.dtype == np.float32
    assert (basis.shape[1] + 1) % 32 == 0
    np.testing.assert_allclose(basis.T @ basis, np.eye(basis.shape[1]), atol=1e-5)
    centred = bank - bank.mean(axis=0)
    assert np.square(centred @ basis).sum() > 0.85 * np.square(centred).sum()
    flat = rng.standard_normal((1200, 320)).astype(np.float32)
    for rows in (flat, bank[:, :200], np.zeros((1200, 320), np.float32)):
        assert principal_basis(np.ascontiguousarray(rows)) is None


class threads_set:  # noqa: N801
    """A number of threads for a while."""

    def __init__(self, count: int) -> None:
        self.count, self.before = count, threads.num_threads()

    def __enter__(self) -> None:
        threads.set_num_threads(self.count)

    def __exit__(self, *_: object) -> None:
        threads.set_num_threads(self.before)
