"""Intake, outbox and batches: bounded, ordered, counted."""

from __future__ import annotations

import threading
import time

import pytest
from stream_fakes import decision, picture

from pyad_edge.streaming import Fault, FaultCode
from pyad_edge.streaming import intake as intake_module
from pyad_edge.streaming.intake import Intake, Ticket
from pyad_edge.streaming.judge import BatchClock
from pyad_edge.streaming.outbox import Finished, Outbox

GONE = Fault(FaultCode.MISSING, "[stream] gone.")
NOTICE = Fault(FaultCode.HANG, "[stream] hangs.")


def ticket(
    number: int, camera: str = "a", *, fault: Fault | None = None, at: float = 0.0
) -> Ticket:
    image = None if fault else picture(number, (8, 8))
    return Ticket(camera, number, f"{camera}#{number}", 0.0, at, at, image, fault)


def intake(*cameras: str, capacity: int = 2, live: bool = False, now: float = 0.0) -> Intake:
    return Intake(cameras or ("a",), capacity=capacity, live=live, clock=lambda: now)


def taken(queue: Intake, limit: int = 100) -> list[tuple[str, int, str]]:
    batch = queue.take(limit, None)
    assert batch is not None
    return [(t.camera, t.frame_id, t.fault.code.value if t.fault else "ok") for t in batch]


def test_a_frame_too_many_is_an_overrun_in_its_place() -> None:
    queue = intake("a", "b")
    for number in range(4):
        assert queue.put(ticket(number), wait=False)
    queue.put(ticket(9, "b"), wait=False)
    assert taken(queue) == [
        ("a", 0, "ok"), ("a", 1, "ok"), ("a", 2, "overrun"), ("a", 3, "overrun"), ("b", 9, "ok"),
    ]  # fmt: skip
    queue.put(ticket(4), wait=False)
    assert taken(queue) == [("a", 4, "ok")]


def test_overruns_without_end_become_one_and_stay_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake_module, "_MERGE_AFTER", 4)
    queue = intake(capacity=1)
    for number in range(1000):
        queue.put(ticket(number), wait=False)
    batch = queue.take(100, None)
    assert batch is not None
    assert len(batch) == 4
    assert sum(t.triggers for t in batch) == 1000
    assert queue.counts("a") == (1000, 0, 0)


def test_newest_wins_and_says_what_it_replaced() -> None:
    queue = intake("a", "b", live=True, capacity=1)
    for number in range(5):
        queue.put(ticket(number), wait=False)
        queue.put(ticket(number, "b"), wait=False)
    batch = queue.take(9, None)
    assert batch is not None
    assert [(t.camera, t.frame_id, t.dropped) for t in batch] == [("a", 4, 4), ("b", 4, 4)]
    assert queue.counts("a") == (5, 4, 0)


def test_a_notice_is_not_dropped_for_a_frame() -> None:
    queue = intake(live=True, capacity=1)
    notice = ticket(-1, fault=NOTICE)
    notice.triggers = 0
    queue.put(ticket(0), wait=False)
    queue.put(notice, wait=False)
    queue.put(ticket(1, fault=GONE), wait=False)
    queue.put(ticket(2), wait=False)
    batch = queue.take(9, None)
    assert batch is not None
    assert [(t.frame_id, t.triggers, t.dropped) for t in batch] == [(-1, 0, 0), (2, 1, 2)]


def test_who_can_wait_waits_for_room() -> None:
    queue, put = intake(capacity=1), threading.Event()
    queue.put(ticket(0), wait=True)

    def second() -> None:
        queue.put(ticket(1), wait=True)
        put.set()

    thread = threading.Thread(target=second)
    thread.start()
    assert not put.wait(0.05)
    assert taken(queue) == [("a", 0, "ok")]
    assert put.wait(10)
    thread.join()
    assert taken(queue) == [("a", 1, "ok")]


def test_closing_lets_everybody_go() -> None:
    queue = intake(capacity=1)
    queue.put(ticket(0), wait=True)
    results: list[object] = []
    thread = threading.Thread(target=lambda: results.append(queue.put(ticket(1), wait=True)))
    thread.start()
    queue.close()
    thread.join(10)
    assert results == [False]
    assert queue.take(1, None) is None
    assert not queue.put(ticket(2), wait=False)


def test_it_ends_when_all_have_and_nothing_waits() -> None:
    queue = intake("a", "b")
    queue.put(ticket(0), wait=False)
    queue.end("a")
    queue.end("b")
    assert taken(queue) == [("a", 0, "ok")]
    assert queue.take(9, None) is None


def test_a_batch_is_so_many_frames_and_the_faults_between_them() -> None:
    queue = intake(capacity=9)
    for number in range(6):
        queue.put(ticket(number, fault=GONE if number == 1 else None), wait=False)
    assert taken(queue, 2) == [("a", 0, "ok"), ("a", 1, "missing"), ("a", 2, "ok")]
    assert taken(queue, 2) == [("a", 3, "ok"), ("a", 4, "ok")]


def test_a_batch_that_is_not_full_waits_until_its_time() -> None:
    queue = Intake(("a", "b"), capacity=9, live=False, clock=time.monotonic)
    asked: list[int] = []

    def close_at(oldest: Ticket) -> float:
        asked.append(oldest.frame_id)
        return time.monotonic() + (0.02 if len(asked) < 3 else -1.0)

    queue.put(ticket(7), wait=False)
    batch = queue.take(2, close_at)
    assert batch is not None
    assert asked == [7, 7, 7]
    queue.put(ticket(8), wait=False)
    queue.put(ticket(8, "b"), wait=False)
    assert queue.take(2, lambda _: float("inf")) is not None  # full: nothing to wait for
    queue.put(ticket(9, fault=GONE), wait=False)
    assert queue.take(2, lambda _: float("inf")) is not None  # a fault needs no batch


def test_the_batch_begins_early_enough_for_its_oldest_frame() -> None:
    clock = BatchClock(0.1, limit=4)
    oldest = ticket(0, at=50.0)
    assert clock.close_at(oldest) == pytest.approx(50.1)
    clock.measured(4, 0.03)
    assert clock.close_at(oldest) == pytest.approx(50.07)
    clock.measured(4, 0.01)  # once faster is not yet believed
    assert clock.close_at(oldest) == pytest.approx(50.1 - 0.028)
    clock.measured(1, 0.05)
    assert clock.close_at(oldest) == pytest.approx(50.05)


def finished(number: int, camera: str = "a") -> Finished:
    return Finished(ticket(number, camera), decision(), None, 0.0, 0.0)


def test_a_full_outbox_waits_under_inspect() -> None:
    box, put = Outbox(capacity=1, live=False), threading.Event()
    box.put(finished(0))

    def second() -> None:
        box.put(finished(1))
        put.set()

    thread = threading.Thread(target=second)
    thread.start()
    assert not put.wait(0.05)
    first = box.get()
    assert first is not None
    assert first.ticket.frame_id == 0
    assert put.wait(10)
    thread.join()
    box.end()
    assert box.get() is not None
    assert box.get() is None


def test_a_full_outbox_drops_its_oldest_under_live_and_counts() -> None:
    box = Outbox(capacity=2, live=True)
    for number in range(4):
        box.put(finished(number))
    box.put(finished(0, "b"))
    got = [box.get(), box.get()]
    assert [(g.ticket.camera, g.ticket.frame_id, g.ticket.dropped) for g in got if g] == [
        ("a", 3, 3),
        ("b", 0, 0),
    ]
    assert box.dropped("a") == 3


def test_what_ends_the_network_thread_is_raised_in_the_loop() -> None:
    box = Outbox(capacity=2, live=False)
    box.end(RuntimeError("a fault of our own"))
    with pytest.raises(RuntimeError, match="of our own"):
        box.get()
