"""Arithmetic of pyad-edge bench, on clocks that do what they are told."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyad_edge.bench.resources import PowerMeter, memory, read_power
from pyad_edge.bench.scenarios import camera, run_scenario
from pyad_edge.bench.statistics import median_interval, summarize


class FakeClock:
    """Time passes only while somebody waits or works."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def now(self) -> float:
        return self.seconds

    def wait_until(self, moment: float) -> None:
        self.seconds = max(self.seconds, moment)


class Worker:
    """Answers that take given milliseconds, in turn."""

    def __init__(self, clock: FakeClock, milliseconds: Sequence[float]) -> None:
        self.clock, self.milliseconds = clock, milliseconds
        self.seen: list[list[int]] = []

    def __call__(self, numbers: Sequence[int]) -> None:
        self.clock.seconds += self.milliseconds[len(self.seen) % len(self.milliseconds)] / 1e3
        self.seen.append(list(numbers))


@given(st.lists(st.floats(1e-3, 1e6), min_size=1, max_size=300))
def test_percentiles_are_those_of_numpy(values: list[float]) -> None:
    found = summarize(values)
    expected = [np.percentile(values, p) for p in (50, 90, 99, 99.9)]
    assert [found.p50, found.p90, found.p99, found.p99_9] == pytest.approx(expected)
    assert (found.count, found.max) == (len(values), max(values))
    assert found.mean == pytest.approx(np.mean(values))


def test_jitter_is_the_mean_step_from_one_to_the_next() -> None:
    assert summarize([5.0, 7.0, 4.0]).jitter == pytest.approx(2.5)
    assert summarize([5.0]).jitter == 0.0


@pytest.mark.parametrize("values", [[], [1.0, float("nan")], [float("inf")]])
def test_what_is_no_latency_is_refused(values: list[float]) -> None:
    with pytest.raises(ValueError, match="finite latency"):
        summarize(values)


def test_an_interval_holds_its_median() -> None:
    values = np.random.default_rng(0).normal(2.0, 0.1, 400)
    median, low, high = median_interval(values)
    assert median == np.median(values)
    assert low < median < high
    assert high - low < 0.05


@pytest.mark.parametrize(
    ("scenario", "size", "latencies"),
    [("SingleStream", 1, [2.0, 4.0, 2.0, 4.0]), ("MultiStream", 3, [2.0, 4.0, 2.0, 4.0])],
)
def test_own_loop_times_each_query(scenario: str, size: int, latencies: list[float]) -> None:
    clock = FakeClock()
    worker = Worker(clock, [2.0, 4.0])
    run = run_scenario(
        scenario,  # type: ignore[arg-type]
        worker,
        frames=2,
        together=3,
        queries=4,
        seconds=0.0,
        clock=clock,
    )
    assert run.latencies == pytest.approx(latencies)
    assert (run.clock, run.frames) == ("own loop", 4 * size)
    assert run.seconds == pytest.approx(0.012)
    numbers = [n for query in worker.seen for n in query]
    assert numbers == [n % 2 for n in range(4 * size)]


def test_a_run_lasts_as_long_as_it_should() -> None:
    clock = FakeClock()
    run = run_scenario(
        "SingleStream",
        Worker(clock, [10.0]),
        frames=1,
        together=1,
        queries=1,
        seconds=0.095,
        clock=clock,
    )
    assert len(run.latencies) == 10


def test_a_camera_that_is_fast_enough_waits_for_nobody() -> None:
    clock = FakeClock()
    run = camera(
        Worker(clock, [4.0, 6.0]), fps=100.0, deadline=5.0, frames=3, triggers=6, clock=clock
    )
    assert run.latencies == pytest.approx([4.0, 6.0] * 3)
    assert run.queueing == pytest.approx(np.zeros(6))
    assert (run.misses, run.longest_queue) == (3, 0)


def test_one_slow_frame_makes_those_behind_it_late() -> None:
    clock = FakeClock()
    times = [2.0, 2.0, 35.0, 2.0, 2.0, 2.0, 2.0, 2.0]
    run = camera(Worker(clock, times), fps=100.0, deadline=20.0, frames=8, triggers=8, clock=clock)
    # Triggers at 0, 10, ..., 70 ms; the third ends at 55 ms, then 57, 59, 61, 63.
    assert run.latencies == pytest.approx([2, 2, 35, 27, 19, 11, 3, 2])
    assert run.queueing == pytest.approx([0, 0, 0, 25, 17, 9, 1, 0], abs=1e-6)
    assert run.misses == 2
    assert run.longest_queue == 2  # at 55 ms the fourth starts; those of 40 and 50 ms wait


def test_a_camera_faster_than_the_work_falls_behind_without_end() -> None:
    clock = FakeClock()
    worker = Worker(clock, [15.0])
    run = camera(worker, fps=100.0, deadline=31.0, frames=4, triggers=50, clock=clock)
    assert np.diff(run.latencies) == pytest.approx(np.full(49, 5.0))
    assert run.misses == 50 - 4
    assert [n for query in worker.seen for n in query] == [k % 4 for k in range(50)]


def test_memory_is_read_from_the_status_file(tmp_path: Path) -> None:
    status = tmp_path / "status"
    status.write_text("Name:\tpython\nVmHWM:\t  2000000 kB\nVmRSS:\t  1000000 kB\nThreads:\t3\n")
    found = memory(status)
    assert (found.resident, found.peak) == pytest.approx((1024.0, 2048.0))
    nothing = memory(tmp_path / "none")
    assert (nothing.resident, nothing.peak) == (None, None)


def write_rails(sysfs: Path) -> None:
    """Monitors as JetPack 5 and JetPack 4 show them."""
    hwmon = sysfs / "bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon3"
    iio = sysfs / "bus/i2c/drivers/ina3221x/6-0040/iio:device0"
    for folder, files in (
        (hwmon, {"in1_label": "VDD_IN", "in1_input": "5000", "curr1_input": "2400"}),
        (hwmon, {"in2_label": "VDD_CPU", "in2_input": "off", "curr2_input": "2400"}),
        (iio, {"rail_name_0": "POM_5V_CPU", "in_power0_input": "1500"}),
    ):
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (folder / name).write_text(text + "\n")


def test_power_is_read_where_a_board_tells_it(tmp_path: Path) -> None:
    assert read_power(tmp_path) == {}
    with PowerMeter(sysfs=tmp_path) as meter:
        pass
    assert meter.watts is None
    write_rails(tmp_path)
    assert read_power(tmp_path) == pytest.approx({"VDD_IN": 12.0, "POM_5V_CPU": 1.5})
    with PowerMeter(period=0.001, sysfs=tmp_path) as meter:
        pass
    assert meter.watts == pytest.approx({"VDD_IN": 12.0, "POM_5V_CPU": 1.5})
