from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pyad_edge import ops
from pyad_edge.ops import cuda

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(cuda.device_count() == 0, reason="no CUDA device here"),
]


@pytest.mark.parametrize(
    ("N", "P", "count"), [(1, 1, 1), (7, 17, 7), (300, 33, 300), (5000, 16, 300), (2500, 128, 40)]
)
def test_same_picks_as_the_cpu(N: int, P: int, count: int) -> None:
    points = np.random.default_rng(N).standard_normal((N, P), np.float32)
    expected = ops.greedy_coreset(points, count=count)
    assert cuda.greedy_coreset(points, count=count).tolist() == expected.tolist()
    initial = ops.start_distances(points, seed=1)
    expected = ops.greedy_coreset(points, count=count, initial=initial)
    found = cuda.greedy_coreset(points, count=count, initial=initial)
    assert found.tolist() == expected.tolist()


def test_ties_and_duplicates() -> None:
    points = np.random.default_rng(0).integers(0, 3, (3000, 4)).astype(np.float32)
    expected = ops.greedy_coreset(points, count=120)
    assert cuda.greedy_coreset(points, count=120).tolist() == expected.tolist()


@pytest.mark.parametrize("scale", [1e-42, 1e-25, 1e13, 1e19, 3e38])
def test_extreme_values(scale: float) -> None:
    points = np.random.default_rng(0).random((90, 7), np.float32) * np.float32(scale)
    expected = ops.greedy_coreset(points, count=90)
    assert cuda.greedy_coreset(points, count=90).tolist() == expected.tolist()


def test_device_arrays_and_progress() -> None:
    points = np.random.default_rng(3).standard_normal((400, 20), np.float32)
    initial = np.linspace(0.0, 9.0, 400, dtype=np.float32)
    seen: list[int] = []
    picks = cuda.greedy_coreset(
        cuda.DeviceArray.from_numpy(points),
        count=50,
        initial=cuda.DeviceArray.from_numpy(initial),
        progress=seen.append,
    )
    expected = ops.greedy_coreset(points, count=50, initial=initial)
    assert picks.numpy().tolist() == expected.tolist()
    assert seen[-1] == 50


@pytest.mark.parametrize("wrong", [np.nan, -1.0, -5.0])
def test_a_wrong_start_on_the_device_is_refused(wrong: float) -> None:
    points = np.random.default_rng(4).standard_normal((60, 5), np.float32)
    initial = np.ones(60, np.float32)
    initial[7:] = wrong
    with pytest.raises(ValueError, match=r"^\[greedy_coreset\] .*none negative or NaN.*such a"):
        cuda.greedy_coreset(points, count=9, initial=cuda.DeviceArray.from_numpy(initial))


def test_points_on_the_device_that_are_not_finite_are_picked_early() -> None:
    points = np.random.default_rng(5).standard_normal((300, 17), np.float32)
    points[200, 16] = np.nan
    picks = cuda.greedy_coreset(cuda.DeviceArray.from_numpy(points), count=300).numpy()
    assert picks[:2].tolist() == [0, 200]
    assert sorted(picks.tolist()) == list(range(300))


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"points": np.zeros((9, 2))}, TypeError, "points as a float32 array, got float64"),
        ({"points": np.zeros((0, 2), np.float32)}, ValueError, r"got \(0, 2\)"),
        ({"points": np.full((9, 2), np.nan, np.float32)}, ValueError, "NaN or infinity"),
        ({"count": 10}, ValueError, "1 <= count <= 9"),
        ({"count": 1.5}, TypeError, "whole number"),
        ({"initial": np.zeros(8, np.float32)}, ValueError, r"shape \(9,\)"),
        ({"initial": np.full(9, -1, np.float32)}, ValueError, "none negative"),
    ],
)
def test_bad_arguments(changes: dict[str, Any], error: type[Exception], words: str) -> None:
    arguments: dict[str, Any] = {"points": np.ones((9, 2), np.float32), "count": 3} | changes
    with pytest.raises(error, match=rf"^\[greedy_coreset\] .*{words}"):
        cuda.greedy_coreset(arguments.pop("points"), **arguments)
