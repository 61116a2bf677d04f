"""Nothing uncounted, whatever mixture: policies, sources that wait, odd ids, clocks and buffers."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from stream_fakes import QUICK, FakeRuntime, decision, picture

from pyad_edge.streaming import (
    Fault,
    FaultCode,
    Inspection,
    Stream,
    StreamSettings,
    inspect_sources,
)
from pyad_edge.streaming import intake as intake_module
from pyad_edge.streaming.frames import Frame
from pyad_edge.streaming.intake import Intake, Ticket
from pyad_edge.streaming.outbox import Finished, Outbox


def finished(camera: str, number: int, *, waits: bool = False) -> Finished:
    ticket = Ticket(camera, number, camera, 0.0, 0.0, 0.0, waits=waits)
    return Finished(ticket, decision(), None, 0.0, 0.0)


def test_a_camera_that_ended_still_reports_what_it_dropped() -> None:
    box = Outbox(capacity=2, live=True)
    for number in range(4):
        box.put(finished("ended", number))
    for number in range(100):
        box.put(finished("goes on", number))
    box.end()
    counted = {"ended": 0, "goes on": 0}
    while (one := box.get()) is not None:
        counted[one.ticket.camera] += one.ticket.triggers + one.ticket.dropped
    assert counted == {"ended": 4, "goes on": 100}


def test_a_box_smaller_than_the_number_of_cameras_holds_one_of_each() -> None:
    box = Outbox(capacity=1, live=True)
    for camera in "abcabc":
        box.put(finished(camera, 0))
    box.end()
    got = [box.get() for _ in range(3)]
    assert [(one.ticket.camera, one.ticket.dropped) for one in got if one] == [
        ("a", 1), ("b", 1), ("c", 1),
    ]  # fmt: skip
    assert box.get() is None


def test_files_are_never_dropped_for_a_slow_loop(tmp_path: Path) -> None:
    for number in range(12):
        cv2.imwrite(str(tmp_path / f"{number:02}.png"), picture(number))
    settings = StreamSettings(results=2)
    stream = inspect_sources(FakeRuntime(), tmp_path, policy="live", settings=settings)
    first = next(stream)
    until = time.monotonic() + 5.0  # the network is then done with all that has room
    while stream.status()["camera"].triggers < 5 and time.monotonic() < until:
        time.sleep(0.005)
    assert [first.dropped, *(i.dropped for i in stream)] == [0] * 12


def test_live_cameras_beside_an_iterable_that_ends_early() -> None:
    sources = {
        "short": (picture(n) for n in range(20)),
        "long": (picture(n) for n in range(600)),
    }
    total: dict[str, int] = {"short": 0, "long": 0}
    settings = StreamSettings(results=1)
    for inspection in inspect_sources(FakeRuntime(), sources, policy="live", settings=settings):
        total[inspection.camera] += inspection.triggers + inspection.dropped
        time.sleep(0.001)
    assert total == {"short": 20, "long": 600}


def test_faults_without_end_become_one_and_stay_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake_module, "_MERGE_AFTER", 4)
    monkeypatch.setattr(intake_module, "_MOST_WAITING", 8)
    queue = Intake(("a",), capacity=1, live=False, clock=lambda: 0.0)
    black, torn = (Fault(code, "[gate] no.") for code in (FaultCode.BLACK, FaultCode.TORN))
    for number in range(1000):
        fault = black if number < 500 or number % 2 else torn
        image = picture(number, (8, 8))
        queue.put(Ticket("a", number, "a", 0.0, 0.0, 0.0, image, fault), wait=False)
    batch = queue.take(1, None)
    assert batch is not None
    assert len(batch) <= 9
    assert sum(ticket.triggers for ticket in batch) == 1000
    assert {t.fault.code.value for t in batch if t.fault} == {"black", "torn", "overrun"}


def frames(ids: list[Any]) -> Iterator[Frame]:
    for n, number in enumerate(ids):
        yield Frame(n, f"f{n}", picture(n), frame_id=number)


def answers(stream: Stream) -> list[tuple[int, str]]:
    return [(i.frame_id, i.fault.code.value if i.fault else i.verdict.value) for i in stream]


def test_ids_of_numpy_are_numbers_that_do_not_wrap_around() -> None:
    ids = [np.uint8(254), np.uint8(255), np.int64(256), np.uint64(2**64 - 1)]
    stream = inspect_sources(FakeRuntime(), frames(ids))
    found: list[Inspection] = list(stream)
    assert [i.frame_id for i in found] == [254, 255, 256, 257, 2**64 - 1]
    assert found[3].fault is not None
    assert found[3].fault.code is FaultCode.MISSING
    assert found[3].triggers == 2**64 - 1 - 257
    for inspection in found:
        json.dumps(inspection.to_dict(), allow_nan=False)


def test_an_id_that_is_no_number_costs_this_frame_only() -> None:
    stream = inspect_sources(FakeRuntime(), frames([0, "one", 2, None, 4.5, 5]))
    assert answers(stream) == [
        (0, "OK"), (1, "unreadable"), (2, "OK"), (3, "OK"), (4, "unreadable"), (5, "OK"),
    ]  # fmt: skip


@pytest.mark.parametrize("ahead", [1e9, float("nan"), float("inf"), -float("inf")])
def test_a_capture_time_that_cannot_be_holds_nothing_up(ahead: float) -> None:
    more = threading.Event()

    def source() -> Iterator[Frame]:
        yield Frame(0, "f", picture(0), timestamp=float("nan"), monotonic=time.monotonic() + ahead)
        more.wait(10.0)

    settings = StreamSettings(max_batch=4, deadline_ms=20.0)
    with inspect_sources(FakeRuntime(), source(), settings=settings) as stream:
        inspection = next(stream)
        more.set()
    assert 0.0 <= inspection.latency_ms < 5_000.0
    assert abs(inspection.captured_at - time.time()) < 60.0


def test_frames_are_copied_like_arrays() -> None:
    buffer = np.zeros((8, 8, 3), np.uint8)

    def source() -> Iterator[Frame]:
        for n in range(10):
            buffer[:] = n
            yield Frame(n, f"f{n}", buffer)

    images = [i.image for i in inspect_sources(FakeRuntime(), source(), gate=None)]
    assert [int(image[0, 0, 0]) for image in images if image is not None] == list(range(10))


def test_a_source_may_close_its_own_stream() -> None:
    streams: list[Stream] = []
    ready = threading.Event()
    errors: list[BaseException] = []

    def source() -> Iterator[Any]:
        ready.wait(5.0)
        try:
            streams[0].close()
        except BaseException as error:
            errors.append(error)
        yield picture(0)

    streams.append(inspect_sources(FakeRuntime(), source(), settings=QUICK))
    ready.set()
    assert list(streams[0]) == []
    assert errors == []
