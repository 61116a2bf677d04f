from __future__ import annotations

import resource

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from ops.harness import check

import pyad_edge.reference.density_weights as reference
from pyad_edge.ops.density_weights import density_weights

expected = reference.density_weights
Array = NDArray[np.float32]

CASES = [  # q, Q, D, beta
    (1, 1, 1, 1.0),
    (3, 15, 2, 0.01),
    (13, 33, 3, 5.0),
    (33, 512, 63, 10.0),
    (40, 513, 64, 41.0),
    (65, 700, 130, 100.0),
    (20, 1100, 97, 1000.0),
]


def clustered(rng: np.random.Generator, rows: int, dim: int) -> Array:
    """Like features of patches: a few dense places, a tail, any length."""
    places = np.random.default_rng(1).normal(size=(5, dim))
    near = places[rng.geometric(0.5, rows).clip(1, 5) - 1] + 0.3 * rng.normal(size=(rows, dim))
    return (near * rng.gamma(2.0, 3.0, (rows, 1))).astype(np.float32)


def bound(dim: int, beta: float) -> float:
    """The header's, and the rounding of the result."""
    return beta * np.sqrt(dim) / 32512 + 3e-6 * (1 + beta)


@pytest.mark.parametrize(("q", "Q", "D", "beta"), CASES)
def test_within_the_stated_bound(q: int, Q: int, D: int, beta: float) -> None:
    rng = np.random.default_rng(q)
    features, queue = clustered(rng, q, D), clustered(rng, Q, D)
    check(density_weights, expected, features, queue, beta=beta, atol=bound(D, beta))


def test_typical_errors_are_far_below_the_bound() -> None:
    rng = np.random.default_rng(2)
    features, queue = clustered(rng, 300, 128), clustered(rng, 2000, 128)
    error = density_weights(features, queue, beta=10.0) - expected(features, queue, beta=10.0)
    assert np.sqrt((error**2).mean()) < 10.0 * 2e-5


@pytest.mark.parametrize("scale", [1e-44, 1e-36, 1e-12, 1e18, 1e38])
@pytest.mark.parametrize("beta", [3.0, 300.0])
def test_the_length_of_a_row_does_not_matter(scale: float, beta: float) -> None:
    rng = np.random.default_rng(3)
    features = rng.uniform(-1, 1, (9, 21)) * scale
    queue = rng.uniform(-1, 1, (70, 21)) * scale
    check(
        density_weights,
        expected,
        features.astype(np.float32),
        queue.astype(np.float32),
        beta=beta,
        atol=bound(21, beta),
    )


def test_rows_of_zeros_have_cosine_zero() -> None:
    features = np.zeros((2, 5), np.float32)
    features[1] = 1
    queue = np.zeros((40, 5), np.float32)
    out = check(density_weights, expected, features, queue, beta=7.0, atol=1e-6)[0]
    np.testing.assert_allclose(out, -np.log(40.0), rtol=1e-6)


@pytest.mark.parametrize("beta", [10.0, 60.0, 400.0])
def test_references_that_rise_and_segments_that_differ(beta: float) -> None:
    # Opposite vectors first, equal ones late: every exponent that there can be, in bad order.
    D, Q = 16, 1500
    angles = np.linspace(np.pi, 0, Q)
    queue = np.zeros((Q, D), np.float32)
    queue[:, 0], queue[:, 1] = np.cos(angles), np.sin(angles)
    features = queue[::-150].copy()
    for order in (slice(None), slice(None, None, -1)):
        check(density_weights, expected, features, queue[order], beta=beta, atol=bound(D, beta))


def test_nothing_near_does_not_underflow() -> None:
    features = np.array([[1, 0, 0]], np.float32)
    queue = -np.repeat(features, 50, axis=0)
    out = density_weights(features, queue, beta=1000.0)
    np.testing.assert_allclose(out, 1000.0 - np.log(50.0), rtol=1e-6)


@settings(max_examples=80, deadline=None)
@given(
    st.integers(1, 70),
    st.integers(1, 1200),
    st.integers(1, 140),
    st.floats(1e-3, 1000.0),
    st.integers(0, 2**32 - 1),
)
def test_any_size(q: int, Q: int, D: int, beta: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    features = rng.integers(-2, 3, (q, D)).astype(np.float32)  # zero rows and duplicates among them
    queue = rng.integers(-2, 3, (Q, D)).astype(np.float32)
    out = density_weights(features, queue, beta=beta)
    np.testing.assert_allclose(
        out, expected(features, queue, beta=beta), rtol=0, atol=bound(D, beta)
    )


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 100), st.integers(1, 99), st.floats(1.0, 200.0))
def test_batches_do_not_change_the_bits(q: int, cut: int, beta: float) -> None:
    rng = np.random.default_rng(q)
    features, queue = clustered(rng, q, 24), clustered(rng, 300, 24)
    whole = density_weights(features, queue, beta=beta)
    cut = min(cut, q)
    parts = [density_weights(part, queue, beta=beta) for part in (features[:cut], features[cut:])]
    np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_memory_is_not_that_of_the_matrix() -> None:
    rng = np.random.default_rng(5)
    features, queue = clustered(rng, 20_000, 8), clustered(rng, 20_000, 8)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    density_weights(features, queue, beta=10.0)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert grown < 100  # MB; the matrix would take 1600


def test_no_features_give_no_weights() -> None:
    queue = np.ones((4, 3), np.float32)
    assert density_weights(np.empty((0, 3), np.float32), queue, beta=1.0).shape == (0,)


def test_refuses_with_a_sentence() -> None:
    queue = np.ones((40, 3), np.float32)
    for beta in (0.0, -1.0, np.nan, np.inf, 1001.0, "1", None, True):
        with pytest.raises(ValueError, match=r"0 < beta <= 1000, got"):
            density_weights(queue, queue, beta=beta)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"queue of shape \(Q, 3\).*got \(2, 5\)"):
        density_weights(queue, np.ones((2, 5), np.float32), beta=1.0)
    with pytest.raises(ValueError, match=r"Q >= 1 .*got \(0, 3\)\. An empty queue"):
        density_weights(queue, queue[:0], beta=1.0)
    with pytest.raises(ValueError, match=r"features of shape \(q, D\).*got \(3,\)"):
        density_weights(queue[0], queue, beta=1.0)
    with pytest.raises(ValueError, match=r"D from 1 to 65536, got \(1, 65537\)"):
        density_weights(np.ones((1, 65537), np.float32), queue, beta=1.0)
    with pytest.raises(TypeError, match="queue as a float32 array, got float64"):
        density_weights(queue, queue.astype(np.float64), beta=1.0)
    for bad in (np.nan, np.inf, -np.inf):
        broken = queue.copy()
        broken[37, 1] = bad
        with pytest.raises(ValueError, match=r"features contains NaN .*first in row 37"):
            density_weights(broken, queue, beta=1.0)
        with pytest.raises(ValueError, match=r"queue contains NaN .*first in row 37"):
            density_weights(queue, broken, beta=1.0)


def test_the_longest_rows_stay_in_range() -> None:
    # All components alike: rounding adds up, and the products are the largest there are.
    ones = np.ones((33, 65536), np.float32)
    ones[16:] *= -1
    for beta in (1.0, 100.0):
        check(density_weights, expected, ones[::16], ones, beta=beta, atol=bound(65536, beta))
