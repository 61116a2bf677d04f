"""Thresholds keep what they promise: by counting every rank, by simulation, and at every border."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pyad_edge.calibration import fixed_threshold, p_value, threshold_for
from pyad_edge.errors import DataError, SettingError

# Few distinct values make ties; float32 is what the runtime's scores are.
SCORES = hnp.arrays(
    np.float32,
    st.integers(2, 60),
    elements=st.one_of(
        st.integers(0, 5).map(float), st.floats(-1e6, 1e6, width=32, allow_subnormal=False)
    ),
)
RATES = st.floats(1e-6, 0.5)
repeatable = settings(deadline=None, derandomize=True)


@pytest.mark.parametrize("n", [2, 3, 4, 5, 6])
@pytest.mark.parametrize("values", [range(7), [0, 0, 1, 1, 1, 2, 3], [5] * 7])
def test_guarantee_by_counting_every_order(n: int, values: range | list[int]) -> None:
    """Exchangeable scores are equally likely in any order: count the orders that are rejected."""
    for false_reject in (0.15, 0.2, 0.25, 1 / 3, 0.4, 0.5):
        rejected = orders = 0
        for *calibration, new in itertools.permutations(values[: n + 1]):
            threshold = threshold_for(calibration, false_reject)
            rejected += new > threshold.value
            orders += 1
            assert threshold.guaranteed_false_reject is not None
            guaranteed = threshold.guaranteed_false_reject
        assert rejected <= guaranteed * orders + 1e-9
        if threshold.method == "conformal":
            assert guaranteed <= false_reject
            if len(set(values)) == len(values):  # without ties the bound is reached
                assert rejected == round(guaranteed * orders)


@pytest.mark.parametrize(("n", "false_reject"), [(99, 0.01), (99, 0.05), (250, 0.01), (19, 0.1)])
def test_guarantee_by_simulation(n: int, false_reject: float) -> None:
    rng = np.random.default_rng(0)
    draws = 20_000
    scores = np.exp(rng.standard_normal((draws, n + 1)))  # a heavy tail
    thresholds = [threshold_for(row[:-1], false_reject) for row in scores]
    rate = np.mean(scores[:, -1] > [threshold.value for threshold in thresholds])
    expected = thresholds[0].guaranteed_false_reject
    assert expected is not None
    error = math.sqrt(expected * (1 - expected) / draws)
    assert abs(rate - expected) < 4 * error
    assert expected <= false_reject


def test_extrapolation_is_right_where_the_tail_is_exponential() -> None:
    """Its assumption holds, so its mean rate should lie near the target; the bound holds anyway."""
    rng = np.random.default_rng(0)
    scores = rng.exponential(size=(2_000, 100))
    thresholds = [threshold_for(row, 0.001) for row in scores]
    assert {threshold.method for threshold in thresholds} == {"extrapolated"}
    rates = np.exp([-threshold.value for threshold in thresholds])
    assert np.median(rates) == pytest.approx(0.001, rel=0.35)
    assert np.mean(rates) < 1 / 101


@repeatable
@given(SCORES, RATES)
def test_value_and_method(scores: np.ndarray, false_reject: float) -> None:
    threshold = threshold_for(scores, false_reject)
    n = len(scores)
    descending = sorted(map(float, scores), reverse=True)
    guaranteed = threshold.guaranteed_false_reject
    assert guaranteed is not None
    assert threshold.normal_pictures == n
    assert threshold.normal_above == sum(score > threshold.value for score in descending)
    rank = round(guaranteed * (n + 1))
    if threshold.method == "conformal":
        assert threshold.value == descending[rank - 1]
        assert guaranteed <= false_reject < (rank + 1) / (n + 1)
        assert threshold.normal_above < rank
    else:
        assert threshold.method == "extrapolated"
        assert false_reject < guaranteed == 1 / (n + 1)
        assert threshold.value >= descending[0]


@repeatable
@given(SCORES, RATES, st.floats(-2e6, 2e6))
def test_verdict_agrees_with_the_p_value(
    scores: np.ndarray, false_reject: float, score: float
) -> None:
    threshold = threshold_for(scores, false_reject)
    if threshold.method == "conformal" and threshold.guaranteed_false_reject is not None:
        p = p_value(score, np.sort(scores))
        assert (score > threshold.value) == (p <= threshold.guaranteed_false_reject)


@repeatable
@given(SCORES, RATES, RATES)
def test_stricter_rates_give_higher_thresholds(
    scores: np.ndarray, one: float, other: float
) -> None:
    low, high = sorted((one, other))
    assert threshold_for(scores, low).value >= threshold_for(scores, high).value


@repeatable
@given(SCORES, RATES, st.randoms(use_true_random=False))
def test_order_does_not_matter(scores: np.ndarray, rate: float, random: object) -> None:
    shuffled = scores.copy()
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert threshold_for(shuffled, rate) == threshold_for(scores, rate)


@repeatable
@given(SCORES, st.floats(-2e6, 2e6))
def test_p_value_counts(scores: np.ndarray, score: float) -> None:
    n = len(scores)
    expected = (1 + sum(float(other) >= score for other in scores)) / (n + 1)
    assert p_value(score, np.sort(scores)) == expected
    assert 1 / (n + 1) <= expected <= 1


def test_p_value_sees_the_smallest_step() -> None:
    scores = np.array([1, 2, 3], np.float32)
    assert p_value(3.0, scores) == 0.5
    assert p_value(np.nextafter(3.0, 4.0), scores) == 0.25
    assert p_value(math.inf, scores) == 0.25


@pytest.mark.parametrize(
    ("n", "false_reject", "rank"),
    [(99, 0.29, 29), (999, 0.001, 1), (998, 0.001, 0), (9, 0.1, 1), (8, 0.1, 0), (99, 0.07, 7)],
)
def test_rates_mean_the_decimals_that_were_typed(n: int, false_reject: float, rank: int) -> None:
    threshold = threshold_for(np.arange(n), false_reject)
    if rank:
        assert threshold.method == "conformal"
        assert threshold.value == n - rank
        assert threshold.guaranteed_false_reject == rank / (n + 1)
    else:
        assert threshold.method == "extrapolated"


def test_scores_without_spread() -> None:
    threshold = threshold_for(np.full(10, 2.5), 0.001)
    assert threshold.value == 2.5
    assert threshold.normal_above == 0


def test_statements() -> None:
    scores = np.arange(999) / 100
    assert threshold_for(scores, 0.001).statement() == (
        "Scores above 9.98 are anomalous: 999 normal pictures held out of the fit guarantee that "
        "on average at most 0.1 % of normal parts like them are rejected, within the target of "
        "0.1 %."
    )
    assert threshold_for(np.full(49, 1.5), 0.001).statement() == (
        "Scores above 1.5 are anomalous: 49 normal pictures held out of the fit guarantee that on "
        "average at most 2 % of normal parts like them are rejected; the target of 0.1 % is "
        "extrapolated, and guaranteeing it takes 999 normal pictures."
    )
    fixed = fixed_threshold(9.5, scores)
    assert (fixed.method, fixed.false_reject, fixed.guaranteed_false_reject) == (
        "fixed",
        None,
        None,
    )
    assert fixed.statement() == (
        "Scores above 9.5 are anomalous: the value was set by hand, 48 of 999 normal pictures held "
        "out of the fit score above it, and no false-reject rate is guaranteed."
    )


@pytest.mark.parametrize("false_reject", [0, -0.1, 0.51, 1, math.nan, math.inf])
def test_rates_out_of_range(false_reject: float) -> None:
    with pytest.raises(SettingError, match=f"got {float(false_reject)}"):
        threshold_for([1.0, 2.0], false_reject)


@pytest.mark.parametrize("scores", [[], [1.0]])
def test_too_few_scores(scores: list[float]) -> None:
    with pytest.raises(DataError, match=f"at least 2 normal pictures .* got {len(scores)}"):
        threshold_for(scores, 0.01)
    with pytest.raises(DataError, match="at least 2 normal pictures"):
        fixed_threshold(1.0, scores)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_values_that_are_no_numbers(bad: float) -> None:
    with pytest.raises(DataError, match="1 of 3 normal scores are NaN or infinite"):
        threshold_for([1.0, bad, 2.0], 0.01)
    with pytest.raises(SettingError, match="finite threshold"):
        fixed_threshold(bad, [1.0, 2.0])
    with pytest.raises(ValueError, match="got NaN"):
        p_value(math.nan, np.array([1.0, 2.0]))
