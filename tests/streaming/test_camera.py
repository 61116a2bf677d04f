"""Drivers that fail, hang while opening, reading or closing, and come back."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from stream_fakes import QUICK, Driver, FakeRuntime

from pyad_edge.streaming import FaultCode, Inspection, State, StateChange, Stream, inspect_sources


def start(driver: Driver, told: list[StateChange] | None = None, **settings: Any) -> Stream:
    chosen = QUICK.model_copy(update=settings)
    tell = None if told is None else told.append
    return inspect_sources(FakeRuntime(), driver, settings=chosen, gate=None, on_state=tell)


def answers(stream: Stream, count: int) -> list[tuple[int, str, int]]:
    """Frame id, name and triggers of the next inspections."""
    found = [next(stream) for _ in range(count)]
    return [(i.frame_id, name(i), i.triggers) for i in found]


def name(inspection: Inspection) -> str:
    return inspection.fault.code.value if inspection.fault else inspection.verdict.value


def until(true: Callable[[], bool]) -> bool:
    end = time.monotonic() + 10
    while not true() and time.monotonic() < end:
        time.sleep(0.002)
    return true()


def test_a_connection_that_breaks_is_made_anew_and_its_cost_is_named() -> None:
    told: list[StateChange] = []
    driver = Driver([0, 1, ConnectionError("unplugged"), 4, 5])
    with start(driver, told) as stream:
        assert answers(stream, 7) == [
            (0, "OK", 1), (1, "OK", 1), (-1, "disconnected", 0), (2, "disconnected", 1),
            (3, "disconnected", 1), (4, "OK", 1), (5, "OK", 1),
        ]  # fmt: skip
        status = stream.status()["camera"]
        assert (status.state, status.reconnects, status.abandoned) == (State.STREAMING, 1, 0)
        assert status.triggers == status.inspected == 6
    assert until(lambda: len(told) == 6)
    assert [c.state.value for c in told] == [
        "CONNECTING", "STREAMING", "LOST", "CONNECTING", "STREAMING", "ENDED",
    ]  # fmt: skip
    assert "unplugged" in str(told[2].reason)
    assert until(lambda: driver.opened == driver.closed == 2)


def test_a_driver_that_hangs_is_abandoned_and_what_it_says_later_is_not_heard() -> None:
    hang = threading.Event()
    told: list[StateChange] = []
    driver = Driver([0, hang, 2])
    with start(driver, told) as stream:
        assert answers(stream, 4) == [(0, "OK", 1), (-1, "hang", 0), (1, "hang", 1), (2, "OK", 1)]
        assert stream.status()["camera"].abandoned == 1
        assert until(lambda: State.STALE in [c.state for c in told])
        hang.set()
        assert until(lambda: stream.status()["camera"].abandoned == 0)
        assert driver.closed == 1  # by its own thread, when it came back
        driver.script += [3]
        assert answers(stream, 1) == [(3, "OK", 1)]


def test_a_driver_that_hangs_while_opening_is_abandoned() -> None:
    hang = threading.Event()
    driver = Driver([0], on_open=[hang, None])
    with start(driver) as stream:
        assert answers(stream, 2) == [(-1, "hang", 0), (0, "OK", 1)]
    hang.set()


def test_a_driver_that_hangs_while_closing_is_abandoned() -> None:
    driver = Driver([0, OSError("gone"), 1])
    driver.close_waits = threading.Event()
    with start(driver) as stream:
        assert answers(stream, 3) == [(0, "OK", 1), (-1, "disconnected", 0), (1, "OK", 1)]
        assert stream.status()["camera"].abandoned == 1
        driver.close_waits.set()


def test_a_device_that_cannot_be_opened_is_tried_again() -> None:
    driver = Driver([0], on_open=[OSError("busy"), OSError("busy"), None])
    with start(driver) as stream:
        assert answers(stream, 2) == [(-1, "disconnected", 0), (0, "OK", 1)]
    assert driver.opened == 3


def test_after_so_many_attempts_it_stays_lost_and_the_stream_ends() -> None:
    driver = Driver([], on_open=[OSError("no such device")] * 9)
    stream = start(driver, max_attempts=3)
    inspections = list(stream)
    assert [(name(i), i.triggers) for i in inspections] == [("disconnected", 0)] * 2
    assert "stays LOST: 3 attempts" in inspections[-1].fault.reason  # type: ignore[union-attr]
    status = stream.status()["camera"]
    assert status.state is State.LOST
    assert "no such device" in str(status.reason)
    assert driver.opened == 3


def test_after_so_many_threads_that_hang_it_stays_lost() -> None:
    hang = threading.Event()
    driver = Driver([0, hang, hang, hang])
    stream = start(driver, max_abandoned=2)
    inspections = list(stream)
    assert [name(i) for i in inspections] == ["OK", "hang", "hang"]
    assert "2 threads hang" in inspections[-1].fault.reason  # type: ignore[union-attr]
    assert stream.status()["camera"].abandoned == 2
    hang.set()


def test_one_lost_camera_does_not_hold_the_other() -> None:
    hang = threading.Event()
    sources = {"left": Driver([0, 1, 2, 3]), "right": Driver([0, hang])}
    with inspect_sources(FakeRuntime(), sources, settings=QUICK, gate=None) as stream:
        found = [next(stream) for _ in range(5)]
        assert [i.frame_id for i in found if i.camera == "left"] == [0, 1, 2, 3]
    hang.set()


def test_a_frame_behind_a_gap_is_let_go_though_none_follows() -> None:
    with start(Driver([0, 2]), reorder_ms=20.0) as stream:
        assert answers(stream, 3) == [(0, "OK", 1), (1, "missing", 1), (2, "OK", 1)]


def test_a_running_camera_that_falls_silent_is_disconnected() -> None:
    driver = Driver([0])
    with start(driver, silent_after_s=0.1) as stream:
        assert answers(stream, 2) == [(0, "OK", 1), (-1, "disconnected", 0)]


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), MemoryError()])
def test_whatever_a_driver_raises_is_a_lost_connection(error: BaseException) -> None:
    with start(Driver([0, error, 1])) as stream:
        found = answers(stream, 3)
    assert found == [(0, "OK", 1), (-1, FaultCode.DISCONNECTED.value, 0), (1, "OK", 1)]
