"""The tables of docs/drift.md are those of the result files; what the page claims holds there."""

from __future__ import annotations

import drift_table as module
import numpy as np
import pytest
from drift import poisson_upper
from drift_runs import first_alarm
from scipy import stats

from pyad_edge.drift.charts import ScoreCusum
from pyad_edge.drift.limits import FALSE_ALARMS, normal_scores


def test_the_page_shows_the_result_files() -> None:
    page = module.PAGE.read_text()
    assert module.with_table(page) == page


def test_false_alarms_are_fewer_than_one_in_100000_good_parts() -> None:
    contents = module.results()
    assert {content["allowed"] for content in contents} == {FALSE_ALARMS}
    rows = [row for content in contents for row in content["rows"]]
    for row in rows:
        found, place = row["false_alarms"], (row["pictures"], row["stream"])
        assert found["alarms"] == sum(found["by_chart"].values())
        assert found["per_100000"] < 1.0, place
        if row["stream"] == "same":  # the bounds of the others are just above 1: the page says so
            assert found["per_100000_at_most"] < 1.0, place
    alarms = sum(row["false_alarms"]["alarms"] for row in rows)
    parts = sum(row["false_alarms"]["parts"] for row in rows)
    assert parts >= 12_000_000
    assert poisson_upper(alarms) * 100_000 / parts < 0.7


def test_under_one_lamp_drifts_are_found_within_200_parts() -> None:
    lamp = {row["stream"]: row["delays"] for row in module.results()[0]["rows"]}
    for one in lamp["same"]:
        assert one["within_200"] == 1.0, one["case"]
        assert one["p95"] <= 150, one["case"]
    for one in lamp["held"]:  # 300 parts learned only, none of the stream among them
        assert one["within_200"] >= 0.95, one["case"]
        assert one["median"] <= 120, one["case"]
    assert lamp["lots"][0]["within_200"] < 0.5  # as the page says: lots hide light


def test_sums_in_one_go_are_those_of_the_chart() -> None:
    rng = np.random.default_rng(0)
    reference, parts = np.sort(rng.gamma(2.0, size=500)), rng.gamma(2.0, size=800)
    parts[400:] *= 1.5
    for upward in (False, True):
        chart = ScoreCusum(reference, pictures=500, spread=1.2, false_alarms=0.1, upward=upward)
        z = normal_scores(parts, reference) / np.sqrt(1.2)
        at = first_alarm(z, chart.allowance, chart.limit, upward=upward)
        steps = (n for n, value in enumerate(parts, 1) if chart.add(float(value), n) is not None)
        assert at == next(steps) > 400


def test_the_upper_bound_of_a_count_is_scipys() -> None:
    for count in (0, 3, 11):
        assert poisson_upper(count) == pytest.approx(stats.chi2.ppf(0.95, 2 * count + 2) / 2)
