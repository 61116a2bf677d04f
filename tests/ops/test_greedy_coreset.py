from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ops.harness import check

import pyad_edge.reference.greedy_coreset as plain
from pyad_edge.ops.greedy_coreset import (
    greedy_coreset,
    project,
    random_projection,
    start_distances,
)


@pytest.mark.parametrize(
    ("N", "P", "count"), [(1, 1, 1), (10, 3, 10), (500, 17, 60), (3000, 128, 400), (2500, 5, 2500)]
)
def test_picks_are_those_of_the_plain_loop(N: int, P: int, count: int) -> None:
    rng = np.random.default_rng(N)
    points = (
        rng.normal(size=(N, 4)) @ rng.normal(size=(4, P)) + 0.1 * rng.normal(size=(N, P))
    ).astype(np.float32)
    points[N // 2 :] = points[: N - N // 2]  # every row twice
    initial = start_distances(points, seed=1)
    check(greedy_coreset, plain.greedy_coreset, points, count=count, initial=initial)


def test_without_start_distances_the_first_pick_is_row_0() -> None:
    points = np.random.default_rng(0).normal(size=(50, 6)).astype(np.float32)
    picks = check(greedy_coreset, plain.greedy_coreset, points, count=20)[0]
    assert picks[0] == 0


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 3000), st.integers(1, 6), st.integers(0, 2**32 - 1))
def test_ties_go_to_the_smallest_index(N: int, P: int, seed: int) -> None:
    # A coarse integer grid: many rows share nearly every maximum, inside and outside the subset.
    points = np.random.default_rng(seed).integers(0, 4, (N, P)).astype(np.float32)
    count = min(N, 90)
    np.testing.assert_array_equal(
        greedy_coreset(points, count=count), plain.greedy_coreset(points, count=count)
    )


def test_identical_rows_are_still_picked_once_each() -> None:
    picks = greedy_coreset(np.ones((2100, 4), np.float32), count=2100)
    assert sorted(picks.tolist()) == list(range(2100))


def test_huge_values_take_the_exact_path() -> None:
    points = (np.random.default_rng(2).normal(size=(300, 5)) * 1e17).astype(np.float32)
    check(greedy_coreset, plain.greedy_coreset, points, count=40)


def test_a_row_far_from_all_others() -> None:
    # One scale for all rows leaves the others without any digits in 8 bits.
    points = np.random.default_rng(3).normal(size=(3000, 20)).astype(np.float32)
    points[1234] = 1e6
    check(greedy_coreset, plain.greedy_coreset, points, count=700)


@pytest.mark.parametrize("P", [63, 64, 65, 1024, 1025])
def test_lengths_around_the_steps_of_the_screen(P: int) -> None:
    points = np.random.default_rng(P).normal(size=(400, P)).astype(np.float32)
    check(greedy_coreset, plain.greedy_coreset, points, count=30)


@pytest.mark.parametrize("scale", [1e-18, 1e-12, 1e12])
def test_small_and_large_values(scale: float) -> None:
    points = (np.random.default_rng(4).normal(size=(900, 33)) * scale).astype(np.float32)
    check(greedy_coreset, plain.greedy_coreset, points, count=90)


def test_projection() -> None:
    rng = np.random.default_rng(1)
    for N, D, P in [(1, 1, 1), (300, 37, 128), (70, 384, 65)]:
        features, matrix = (
            rng.normal(size=(N, D)).astype(np.float32),
            random_projection(D, out_dim=P, seed=3),
        )
        assert matrix.shape == (D, P)
        check(project, plain.project, features, matrix, atol=2e-5)
    wide = random_projection(384, seed=0)
    assert abs(np.linalg.norm(wide, axis=1).mean() - 1) < 0.02  # lengths are kept on average
    np.testing.assert_array_equal(wide, random_projection(384, seed=0))
    assert (wide != random_projection(384, seed=1)).any()


def test_start_distances() -> None:
    points = np.random.default_rng(1).normal(size=(90, 24)).astype(np.float32)
    check(start_distances, plain.start_distances, points, seed=5, rtol=1e-6)
    two = points[:2]  # fewer rows than start points: the mean over all of them
    expected = (np.linalg.norm(two[0].astype(float) - two[1]) / 2) ** 2
    np.testing.assert_allclose(start_distances(two, seed=5), [expected, expected], rtol=1e-6)


def test_progress_is_told_and_can_stop_the_selection() -> None:
    points = np.random.default_rng(1).normal(size=(400, 3)).astype(np.float32)
    told: list[int] = []
    greedy_coreset(points, count=400, progress=told.append)
    assert told == sorted(told)
    assert told[-1] == 400

    def stop(made: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        greedy_coreset(points, count=400, progress=stop)


def test_refuses_what_it_cannot_select() -> None:
    points = np.ones((5, 2), np.float32)
    for count in (0, 6):
        with pytest.raises(ValueError, match=f"1 <= count <= 5.*got {count}"):
            greedy_coreset(points, count=count)
    with pytest.raises(TypeError, match="float64"):
        greedy_coreset(points.astype(np.float64), count=1)
    for wrong in (2.5, "2", True):
        with pytest.raises(TypeError, match=rf"^\[greedy_coreset\] .*count .* got {wrong!r}"):
            greedy_coreset(points, count=wrong)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match=rf"^\[start_distances\] .*count .* got {wrong!r}"):
            start_distances(points, seed=0, count=wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"^\[start_distances\] .*got 0"):
        start_distances(points, seed=0, count=0)
    with pytest.raises(ValueError, match=r"^\[start_distances\] .*got none"):
        start_distances(points[:0], seed=0)
    with pytest.raises(TypeError, match=r"initial as a float32 array, got list"):
        greedy_coreset(points, count=1, initial=[1, 2, 3, 4, 5])  # type: ignore[arg-type]
    huge = np.full((3, 2), 3e38, np.float32)
    with pytest.raises(ValueError, match=r"^\[project\] .*exceeds float32: features reach 3e\+38"):
        project(huge, np.ones((2, 2), np.float32))
    with pytest.raises(ValueError, match=r"initial of shape \(5,\)"):
        greedy_coreset(points, count=1, initial=np.zeros(4, np.float32))
    with pytest.raises(ValueError, match=r"none negative or NaN, got nan in row 0"):
        greedy_coreset(points, count=1, initial=np.full(5, np.nan, np.float32))
    with pytest.raises(ValueError, match=r"matrix of shape \(2, P\)"):
        project(points, np.ones((3, 4), np.float32))
    points[3, 0] = np.nan
    with pytest.raises(ValueError, match="row 3"):
        greedy_coreset(points, count=1)


def test_start_distances_are_never_subnormal() -> None:
    # Whether such numbers count would depend on the calling thread's mode.
    points = (np.random.default_rng(3).standard_normal((40, 5)) * 1e-20).astype(np.float32)
    distances = start_distances(points, seed=0)
    np.testing.assert_array_equal(distances, plain.start_distances(points, seed=0))
    assert not ((distances > 0) & (distances < np.finfo(np.float32).tiny)).any()
