from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from ops.harness import assert_bit_equal

from pyad_edge import ops
from pyad_edge.ops import cuda
from pyad_edge.ops.cuda.nearest_neighbors import FORMS

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(cuda.device_count() == 0, reason="no CUDA device here"),
]

Array = NDArray[np.float32]
SIZES = [  # Q, M, D, k
    (1, 1, 1, 1),
    (9, 257, 19, 4),
    (130, 1000, 100, 1),
    (100, 333, 384, 16),
    (20, 129, 1024, 2),
    (0, 5, 6, 1),
]


def features(Q: int, M: int, D: int, *, seed: int = 0) -> tuple[Array, Array]:
    """Clustered rows with ties, as features have."""
    rng = np.random.default_rng(seed)
    bank = rng.integers(-2, 3, (M, D)).astype(np.float32)
    bank[: M // 2] += 0.3 * rng.standard_normal((M // 2, D), np.float32)
    queries = bank[rng.integers(0, M, Q)] + rng.choice([0, 0.1], (Q, 1)).astype(np.float32)
    return np.ascontiguousarray(queries, np.float32), bank


@pytest.mark.parametrize("form", [None, *FORMS])
@pytest.mark.parametrize(("Q", "M", "D", "k"), SIZES)
def test_bit_equal_to_the_cpu(form: str | None, Q: int, M: int, D: int, k: int) -> None:
    queries, bank = features(Q, M, D)
    expected = ops.nearest_neighbors(queries, bank, k=k)
    found = cuda.MemoryBank(bank, int8=True).search(queries, k=k, form=form)
    assert_bit_equal(found, expected, f"form {form}")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("scale", [0.0, 1e-42, 1e-30, 1e-15, 1e8, 9e11, 1e19])
def test_extreme_values(form: str, scale: float) -> None:
    rng = np.random.default_rng(1)
    queries, bank = (rng.random((n, 37), np.float32) * np.float32(scale) for n in (11, 300))
    expected = ops.nearest_neighbors(queries, bank, k=3)
    found = cuda.MemoryBank(bank, int8=True).search(queries, k=3, form=form)
    assert_bit_equal(found, expected, f"form {form}")


@pytest.mark.parametrize("form", FORMS)
def test_more_ties_than_the_list_holds(form: str) -> None:
    bank = np.full((900, 8), 0.5, np.float32)
    queries = np.zeros((5, 8), np.float32)
    expected = ops.nearest_neighbors(queries, bank, k=2)
    found = cuda.MemoryBank(bank, int8=True).search(queries, k=2, form=form)
    assert_bit_equal(found, expected, f"form {form}")


def test_device_arrays_are_used_where_they_lie() -> None:
    queries, bank = features(70, 500, 64)
    expected = ops.nearest_neighbors(queries, bank, k=2)
    on_device = cuda.DeviceArray.from_numpy(queries)
    prepared = cuda.MemoryBank(cuda.DeviceArray.from_numpy(bank))
    workspace = prepared.workspace(70, k=2)
    out = (
        cuda.DeviceArray.from_numpy(np.full((70, 2), np.nan, np.float32)),
        cuda.DeviceArray.from_numpy(np.full((70, 2), -7, np.int64)),
    )
    for _ in range(2):  # the second call finds a used workspace
        assert prepared.search(on_device, k=2, out=out, workspace=workspace) == out
        assert_bit_equal(tuple(o.numpy() for o in out), expected, "into out")
    made = cuda.nearest_neighbors(on_device, cuda.DeviceArray.from_numpy(bank), k=2)
    assert_bit_equal(tuple(o.numpy() for o in made), expected, "made")


@pytest.mark.parametrize("form", FORMS)
def test_a_query_that_is_not_finite_spoils_no_other(form: str) -> None:
    queries, bank = features(6, 200, 30)
    expected, _ = ops.nearest_neighbors(queries, bank)
    queries[1, 3], queries[4, 0] = np.nan, np.inf
    found = cuda.MemoryBank(bank, int8=True).search(cuda.DeviceArray.from_numpy(queries), form=form)
    distances, indices = (array.numpy()[:, 0] for array in found)
    assert np.flatnonzero(np.isnan(distances)).tolist() == [1, 4]
    assert np.flatnonzero(indices < 0).tolist() == [1, 4]
    good = [0, 2, 3, 5]
    assert distances[good].tobytes() == expected[good, 0].tobytes()
    with pytest.raises(ValueError, match=r"queries contains NaN or infinity .first in row 1"):
        cuda.nearest_neighbors(queries, bank)


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"queries": np.zeros((2, 5), np.float32)}, ValueError, r"\(Q, 4\) .* got \(2, 5\)"),
        ({"queries": np.zeros((2, 4))}, TypeError, "queries as a float32 array, got float64"),
        ({"k": 17}, ValueError, "16 on a CUDA device"),
        ({"k": 0}, ValueError, "1 <= k <= 16"),
        ({"form": "guess"}, ValueError, "exact, half_fused"),
        ({"form": "bytes_fused"}, ValueError, "int8=True"),
    ],
)
def test_bad_arguments(changes: dict[str, Any], error: type[Exception], words: str) -> None:
    bank = cuda.MemoryBank(np.ones((30, 4), np.float32))
    arguments: dict[str, Any] = {"queries": np.zeros((2, 4), np.float32)} | changes
    with pytest.raises(error, match=rf"^\[nearest_neighbors\] .*{words}"):
        bank.search(arguments.pop("queries"), **arguments)


@pytest.mark.parametrize("rows", [np.full((3, 2), np.nan, np.float32), np.empty((0, 2), "f4")])
def test_bad_banks(rows: Array) -> None:
    with pytest.raises(ValueError, match=r"^\[nearest_neighbors\] .*bank"):
        cuda.MemoryBank(rows)
