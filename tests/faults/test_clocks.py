"""Clocks that jump by a day while a stream runs: no verdict lost, no camera declared dead."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from stream_fakes import FakeRuntime, picture

from pyad_edge.streaming import Grab, State, StateChange, StreamSettings, inspect_sources
from pyad_edge.streaming.link import SteadyClock

DAY = 86_400.0
FRAMES = 30
# Times within which a starved machine still answers; a day is longer than all of them.
PATIENT = StreamSettings(
    read_timeout_s=0.5, stale_after_s=30, lost_after_s=60, reorder_ms=200, queue=64
)


class Clock:
    """A clock with a hand that can be moved."""

    def __init__(self, real: Callable[[], float]) -> None:
        self._real = real
        self.moved = 0.0

    def __call__(self) -> float:
        return self._real() + self.moved


class SteadyCamera:
    """Gives a frame whenever it is asked, and moves a clock at the tenth."""

    counter = "device"

    def __init__(self, jump: Callable[[], None]) -> None:
        self._jump = jump
        self._number = 0

    def open(self) -> None:
        pass

    def read(self, timeout: float) -> Grab | None:
        if self._number == FRAMES:
            threading.Event().wait(timeout)
            return None
        if self._number == FRAMES // 3:
            self._jump()
        self._number += 1
        return Grab(picture(self._number), frame_id=self._number)

    def close(self) -> None:
        pass


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Clock]]:
    made = {name: Clock(getattr(time, name)) for name in ("time", "monotonic")}
    with monkeypatch.context() as patch:
        for name, clock in made.items():
            patch.setattr(time, name, clock)
        yield made
        for clock in made.values():
            clock.moved = 0.0


@pytest.mark.parametrize("days", [1, -1])
@pytest.mark.parametrize("name", ["time", "monotonic"])
@pytest.mark.parametrize("deadline_ms", [None, 50.0])
def test_every_frame_has_its_verdict_when_a_clock_jumps(
    clocks: dict[str, Clock], name: str, days: int, deadline_ms: float | None
) -> None:
    """The wall clock is set by people and NTP; the monotonic one jumps where a guest is resumed."""

    def jump() -> None:
        clocks[name].moved += days * DAY

    camera = SteadyCamera(jump)
    told: list[StateChange] = []
    settings = PATIENT.model_copy(update={"deadline_ms": deadline_ms, "max_batch": 2})
    with inspect_sources(
        FakeRuntime(), lambda: camera, settings=settings, gate=None, on_state=told.append
    ) as stream:
        found = [next(stream) for _ in range(FRAMES)]
        status = stream.status()["camera"]
    assert [one.frame_id for one in found] == list(range(1, FRAMES + 1))
    assert [one.verdict for one in found] == ["OK"] * FRAMES
    assert status.triggers == FRAMES
    assert status.reconnects == status.abandoned == 0
    assert {change.state for change in told} <= {State.CONNECTING, State.STREAMING, State.ENDED}


@pytest.mark.parametrize("days", [1, -1])
def test_ages_and_standstills_do_not_ask_the_wall_clock(
    clocks: dict[str, Clock], days: int
) -> None:
    def jump() -> None:
        clocks["time"].moved += days * DAY

    camera = SteadyCamera(jump)
    settings = PATIENT.model_copy(update={"max_age_ms": 60_000.0})
    with inspect_sources(FakeRuntime(), lambda: camera, settings=settings, gate=None) as stream:
        found = []
        for _ in range(FRAMES):
            found.append(next(stream))
            assert stream.stalled_s() < 60
    assert all(0 <= one.latency_ms < 60_000 for one in found)
    assert [one.fault for one in found] == [None] * FRAMES


def test_the_steady_clock_never_goes_back() -> None:
    clock = SteadyClock(0.05)
    readings: list[Any] = [0.0, 0.05, DAY, DAY + 0.05, -DAY, -DAY + 0.05]
    times = [clock.tick(reading) for reading in readings]
    assert times == sorted(times)
    assert times[-1] == pytest.approx(0.05 + 0.2 + 0.05 + 0.0 + 0.05)
