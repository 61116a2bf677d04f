"""Limits follow from the allowance of false alarms; statistics are SciPy's."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from pyad_edge.drift import limits
from pyad_edge.drift.charts import RejectChart, ScoreCusum, ks_distance


def test_kolmogorovs_distribution_is_scipys() -> None:
    for value in (0.1, 0.4, 1.0, 1.36, 2.5, 3.5):
        assert limits.kolmogorov_q(value) == pytest.approx(stats.kstwobign.sf(value), rel=1e-9)


def test_the_distance_is_scipys_with_ties() -> None:
    rng = np.random.default_rng(0)
    for n, m in ((7, 3), (126, 200), (1, 5)):
        reference, sample = rng.integers(0, 9, n) / 4, rng.integers(2, 11, m) / 4
        found = ks_distance(sample, np.sort(reference))
        assert found == pytest.approx(stats.ks_2samp(sample, reference).statistic, abs=1e-12)


@pytest.mark.parametrize("reference", [40, 126])
def test_the_limit_of_distances_is_on_the_safe_side_of_the_exact_one(reference: int) -> None:
    looks, allowed = 50, 1.0
    limit = limits.ks_limit(reference, 200, looks=looks, false_alarms=allowed)
    # SciPy's exact tail of two samples that are just beyond the limit: the first ones of the window
    # lie below the whole reference, the others between its values as evenly as can be.
    below = int(np.floor(limit * 200)) + 1
    window = np.r_[np.full(below, -1.0), np.linspace(0.5, reference - 0.5, 200 - below)]
    exact = stats.ks_2samp(window, np.arange(reference, dtype=float), method="exact")
    assert limit < exact.statistic < limit + 0.02
    assert 0 < exact.pvalue <= allowed / looks


def test_an_upper_bound_of_a_rate_is_clopper_and_pearsons() -> None:
    for count, frames in ((0, 2000), (3, 50), (20, 400)):
        wanted = stats.beta.ppf(0.999, count + 1, frames - count)
        found = limits.binomial_upper(count, frames, confidence=0.999)
        assert found == pytest.approx(wanted, rel=1e-6)
    assert limits.binomial_upper(5, 5, confidence=0.999) == 1.0


def test_normal_scores_are_of_middle_ranks_and_bounded() -> None:
    ordered = np.array([0.0, 0.0, 1.0, 2.0])
    found = limits.normal_scores(np.array([-5.0, 0.0, 1.5, 9.0]), ordered)
    wanted = stats.norm.ppf(np.array([0.5, 1.5, 3.5, 4.5]) / 5)
    assert found == pytest.approx(wanted)


def test_ripple_counts_as_fewer_pictures() -> None:
    rng = np.random.default_rng(1)
    noise = rng.standard_normal(20_000)
    assert limits.long_run_variance(noise) == pytest.approx(1.0, abs=0.15)
    ripple = np.zeros(20_000)
    for n in range(1, ripple.size):
        ripple[n] = 0.5 * ripple[n - 1] + noise[n]
    assert limits.long_run_variance(ripple) == pytest.approx(3.0, rel=0.2)  # (1 + φ) / (1 - φ)
    assert limits.long_run_variance(np.ones(50)) == 1.0


def test_small_references_widen_the_chart() -> None:
    found = [limits.allowance(n) for n in (40, 126, 2000)]
    assert found[0] > found[1] > found[2] == 0.15
    strict = limits.cusum_limit(126, 0.01)
    assert strict > limits.cusum_limit(126, 0.1)


@pytest.mark.parametrize("pictures", [60, 500])
def test_false_alarms_over_references_are_those_allowed(
    pictures: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Simulated: many references, each with a stream of its own, any distribution."""
    monkeypatch.setattr(limits, "HORIZON", 2000)
    allowed = 0.3
    h, k = limits.cusum_limit(pictures, allowed), limits.allowance(pictures)
    rng = np.random.default_rng(2)
    alarms, runs = 0, 400
    for _ in range(runs):
        reference = np.sort(rng.exponential(size=pictures))
        z = limits.normal_scores(rng.exponential(size=2000), reference)
        total = np.cumsum(z - k)
        alarms += bool((total - np.minimum.accumulate(np.minimum(total, 0.0))).max() > h)
    assert 0.02 < alarms / runs < 1.3 * allowed


def test_shares_add_up() -> None:
    names = ("brightness", "contrast", "score")
    assert sum(limits.share_of(n, names) for n in names) == pytest.approx(limits.FALSE_ALARMS)
    light = (*names, "light_up")
    assert limits.share_of("light_up", light) == 2 * limits.share_of("score", light)


def test_a_cusum_finds_a_shift_and_when_it_began() -> None:
    rng = np.random.default_rng(3)
    chart = ScoreCusum(rng.normal(size=1000), pictures=1000, spread=1.0, false_alarms=0.1)
    for n, value in enumerate(rng.normal(size=500)):
        assert chart.add(value, n) is None
    for n, value in enumerate(rng.normal(-1.0, size=200), start=500):
        if (found := chart.add(value, n)) is not None:
            break
    assert found is not None
    assert (found.direction, n < 600) == ("down", True)
    assert 480 <= found.since <= 510
    assert found.statistic > found.limit == chart.limit


def test_a_run_of_defects_counts_less_for_the_camera() -> None:
    reference = np.linspace(0, 1, 1000)

    def parts(rejected: bool) -> int:
        chart = ScoreCusum(reference, pictures=1000, spread=1.0, false_alarms=0.1)
        return next(n for n in range(1000) if chart.add(9.0, n, rejected=rejected))

    assert parts(rejected=True) > 2.5 * parts(rejected=False)


def test_rejects_alarm_on_a_run_of_defects_and_not_at_the_learned_rate() -> None:
    chart = RejectChart(20, 2000, at_least=0.001, false_alarms=0.06)
    rng = np.random.default_rng(4)
    assert all(chart.add(bool(bad), n) is None for n, bad in enumerate(rng.random(20_000) < 0.01))
    found = [chart.add(True, 20_000 + n) for n in range(40)]
    first = next(n for n, one in enumerate(found) if one)
    assert 5 < first < 40
    assert found[first] is not None
    assert found[first].since == pytest.approx(20_000, abs=60)
