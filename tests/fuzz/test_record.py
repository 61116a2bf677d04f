"""Only whole runs are recorded, each once."""

from __future__ import annotations

import pytest
from fuzz.record import added, run_of

LOG = """\
.venv-test/bin/python tests/fuzz/run.py onnx -runs=12000 -print_final_stats=1
INFO: Seed: 3210
#11\tINITED cov: 371 ft: 1229 corp: 9/2Kb exec/s: 0 rss: 95Mb
#1024\tNEW    cov: 372 ft: 1230 corp: 10/2Kb lim: 4096 exec/s: 900 rss: 95Mb L: 70/346 MS: 1 Cus-
#12000\tDONE   cov: 410 ft: 1300 corp: 77/21Kb lim: 4096 exec/s: 387 rss: 96Mb
Done 12000 runs in 31 second(s)
stat::number_of_executed_units: 12000
stat::average_exec_per_sec:     387
stat::new_units_added:          318
stat::slowest_unit_time_sec:    0
stat::peak_rss_mb:              96
"""
EMPTY = {"aim": "", "executions": 0, "runs": []}


def test_a_whole_run_is_read() -> None:
    run = run_of(LOG)
    assert run["command"] == "make fuzz target=onnx runs=12000"
    assert (run["executions"], run["seconds"]) == (11989, 31)
    assert (run["rss_mb_start"], run["rss_mb_peak"]) == (95, 96)
    assert (run["coverage_start"], run["coverage_end"], run["features_end"]) == (371, 410, 1300)
    assert run["corpus_files_end"] == 77


def test_a_run_that_ended_early_is_not_counted() -> None:
    crashed = LOG[: LOG.index("#12000")] + "==7== ERROR: libFuzzer: fuzz target exited\n"
    with pytest.raises(ValueError, match="no whole run"):
        run_of(crashed)


def test_a_run_counts_once() -> None:
    once = added(EMPTY, run_of(LOG))
    assert once["executions"] == 11989
    assert once["aim"].endswith("not reached")
    with pytest.raises(ValueError, match="there already"):
        added(once, run_of(LOG))


def test_the_aim_is_reached_by_all_runs_together() -> None:
    before = {**EMPTY, "runs": [{"target": "engine", "executions": 9_990_000}]}
    assert added(before, run_of(LOG))["aim"].endswith("; reached")
