"""The soak's measures against known ones, and a short run of it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("matplotlib")

import soak

from pyad_edge.streaming.simulate import EXPECTED


def test_the_slope_is_that_of_most_readings() -> None:
    hours = np.linspace(0, 1, 200)
    memory = 100 + 3.0 * hours
    memory[::10] += 40  # a picture that was just in memory
    assert soak.theil_sen(hours, memory) == pytest.approx(3.0, abs=0.3)
    assert soak.theil_sen(hours, np.full(200, 7.0)) == 0.0


def test_tenths_of_the_latencies_agree_with_numpy() -> None:
    rng = np.random.default_rng(0)
    times = np.sort(rng.uniform(0, 5_000, 20_000))  # the slices double three times
    values = rng.lognormal(1.0, 0.5, 20_000) * (1 + times / 5_000)
    latencies = soak.Latencies()
    for at, value in zip(times, values, strict=True):
        latencies.add(float(at), float(value))
    found = latencies.p99_by_tenth()
    expected = [np.percentile(part, 99) for part in np.array_split(values, 10)]
    np.testing.assert_allclose(found, expected, rtol=0.06)
    assert found[-1] > found[0]


def test_gauges_keep_their_size_and_the_whole_run() -> None:
    gauges = soak.Gauges()
    for n in range(20_001):
        gauges.look(0.06 * n, n, progress=n / 20_000)
        gauges.look(0.06 * n, n, progress=n / 20_000)
    table = gauges.table()
    assert len(table["seconds"]) == soak.SAMPLES + 1
    assert table["seconds"][0] == 0
    assert table["seconds"][-1] > 0.99 * 0.06 * 20_000
    tenths = np.histogram(table["frames"], np.linspace(0, 20_000, 11))[0]
    assert tenths.max() - tenths.min() <= 2, "as many in each part of the run"
    assert (np.diff(table["seconds"]) > 0).all()
    assert (table["memory_mb"] > 1).all()
    assert (table["allocated_mb"] < table["memory_mb"] + 1000).all()
    assert (table["handles"] > 0).all()


@pytest.mark.parametrize(
    ("column", "target"),
    [("handles", "handles"), ("threads", "threads"), ("memory_mb", "memory slope")],
)
def test_what_grows_is_a_target_that_is_missed(column: str, target: str) -> None:
    seconds = np.linspace(0, 3600, 1000)
    flat = {name: np.full(1000, 10.0) for name in soak.Gauges.COLUMNS} | {"seconds": seconds}
    latencies = soak.Latencies()
    for at in seconds:
        latencies.add(float(at), 2.0)
    account = {"exact": True}
    assert all(soak.summary(flat, latencies, account)["reached"].values())
    flat[column] = 10 + 2 * seconds / 3600
    reached = soak.summary(flat, latencies, account)["reached"]
    assert [name for name, well in reached.items() if not well] == [target]


def test_a_short_soak_accounts_for_every_trigger(tmp_path: Path) -> None:
    frames = 300
    soak.main(["--frames", str(frames), "--out", str(tmp_path)])
    found = json.loads((tmp_path / "soak.json").read_text())
    assert found["reached"]["triggers = verdicts + faults + counted drops"]
    answered = sum(found["verdicts"].values()) + found["faults"] + found["dropped"]
    assert found["triggers"] == answered == frames
    assert set(found["injected"]) == set(EXPECTED)
    assert not found["off_the_diagonal"]
    assert found["answered_twice"] == 0
    assert set(found["verdicts"]) <= {"OK", "NG"}
    assert (tmp_path / "soak.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_the_page_tells_the_long_run() -> None:
    root = Path(__file__).resolve().parents[1]
    results = sorted((root / "benchmarks/results").glob("soak.*.json"))
    page = (root / "docs/faults.md").read_text()
    assert results
    for path in results:
        found = json.loads(path.read_text())
        assert found["triggers"] >= 1_000_000
        assert all(found["reached"].values()), path.name
        assert (
            sum(found["verdicts"].values()) + found["faults"] + found["dropped"]
            == found["triggers"]
        )
        assert path.name in page
        for name in ("memory_slope_mb_per_h", "allocated_slope_mb_per_h", "p99_last_over_first"):
            assert str(found[name]) in page, name
