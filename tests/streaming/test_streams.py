"""Whole streams: sources, policies, exceptions, ends."""

from __future__ import annotations

import gc
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from stream_fakes import QUICK, Driver, FakeRuntime, picture
from tiny_engine import TinyEngine

from pyad_edge import Runtime
from pyad_edge.errors import BackendError, DataError, ResourceError, SettingError
from pyad_edge.result import Verdict
from pyad_edge.stream import Frame
from pyad_edge.streaming import (
    FaultCode,
    GateSettings,
    Grab,
    Inspection,
    State,
    StateChange,
    StreamSettings,
    inspect_sources,
)


def codes(inspections: list[Inspection]) -> list[str]:
    return [i.fault.code.value if i.fault else i.verdict.value for i in inspections]


def pyad_threads() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("pyad-")]


def gone(seconds: float = 10.0) -> bool:
    """Whether all threads of streams end within that time."""
    until = time.monotonic() + seconds
    while pyad_threads() and time.monotonic() < until:
        time.sleep(0.005)
    return not pyad_threads()


def test_a_folder_gives_what_the_runtime_gives(tiny: TinyEngine) -> None:
    runtime, folder = Runtime(tiny.path), tiny.data / "test" / "good"
    with runtime.stream(folder) as stream:
        inspections = list(stream)
    paths = sorted(map(str, folder.iterdir()))
    assert [i.name for i in inspections] == paths
    assert [i.result.score for i in inspections if i.result] == [tiny.scores[p] for p in paths]
    assert [i.index for i in inspections] == [0, 1, 2]
    record = json.loads(json.dumps(inspections[0].to_dict(), allow_nan=False))
    assert record["verdict"] == inspections[0].verdict.value
    assert record["frame"] == 0
    assert "error" not in record
    assert stream.status()["camera"].state is State.ENDED


def test_decide_mode_gives_decisions(tiny: TinyEngine) -> None:
    folder = tiny.data / "test"
    runtime = Runtime(tiny.path)
    for kind in sorted(folder.iterdir()):
        full = [i.verdict for i in runtime.stream(kind)]
        assert [i.verdict for i in runtime.stream(kind, mode="decide")] == full


def test_a_picture_that_cannot_be_read_is_a_fault_in_its_place(tmp_path: Path) -> None:
    for name in ("a.png", "c.png"):
        cv2.imwrite(str(tmp_path / name), picture(1))
    (tmp_path / "b.png").write_bytes(b"no picture")
    inspections = list(inspect_sources(FakeRuntime(), tmp_path))
    assert codes(inspections) == ["OK", "unreadable", "OK"]
    assert inspections[1].to_dict()["error"] == inspections[1].fault.reason  # type: ignore[union-attr]


def test_iterables_of_arrays_and_frames_in_order() -> None:
    items: list[Any] = [picture(n) for n in range(20)]
    items[3] = Frame(3, "third.png", picture(3))
    items[4] = Frame(4, "fourth.png", None, error="[x] unreadable.")
    items[5] = "no frame"
    inspections = list(inspect_sources(FakeRuntime(), items))
    expected = ["OK"] * 20
    expected[4] = expected[5] = "unreadable"
    assert codes(inspections) == expected
    assert inspections[3].name == "third.png"
    assert [i.index for i in inspections] == list(range(20))


def test_an_array_that_its_owner_fills_again_is_inspected_as_it_was() -> None:
    buffer = np.zeros((16, 16), np.uint8)

    def camera() -> Any:
        for n in range(50):
            buffer[:] = n + 100
            yield buffer

    inspections = list(inspect_sources(FakeRuntime(lambda f: float(f[0, 0])), camera()))
    assert [i.result.score for i in inspections if i.result] == [n + 100.0 for n in range(50)]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (BackendError("[run] broken."), FaultCode.BACKEND),
        (RuntimeError("what?"), FaultCode.BACKEND),
        (DataError("[infer] not such."), FaultCode.INPUT),
        (MemoryError(), FaultCode.MEMORY),
        (ResourceError("[x] full."), FaultCode.MEMORY),
    ],
)
@pytest.mark.parametrize("cameras", [1, 2])
def test_an_exception_is_a_fault_of_its_frame_alone(
    error: Exception, code: FaultCode, cameras: int
) -> None:
    def score(frame: Any) -> float:
        if frame[0, 0] == 77:
            raise error
        return 0.5

    frames = [np.full((16, 16), 77 if n == 5 else 120 + n, np.uint8) for n in range(10)]
    sources = {f"c{n}": list(frames) for n in range(cameras)}
    inspections = list(inspect_sources(FakeRuntime(score), sources))
    for camera in sources:
        own = [i for i in inspections if i.camera == camera]
        assert [i.index for i in own] == list(range(10))
        assert codes(own) == ["OK"] * 5 + [code.value] + ["OK"] * 4


@pytest.mark.parametrize("score", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("mode", ["infer", "decide"])
def test_a_score_that_is_no_number_is_never_ok(score: float, mode: Any) -> None:
    (inspection,) = inspect_sources(FakeRuntime(lambda _: score), [picture(0)], mode=mode)
    assert inspection.verdict is Verdict.FAULT
    assert inspection.fault is not None
    assert inspection.fault.code is FaultCode.BACKEND


class Failing:
    """An iterable whose ``next`` fails now and then, or for good."""

    def __init__(self, fails: Any) -> None:
        self.n, self.fails = -1, fails

    def __iter__(self) -> Failing:
        return self

    def __next__(self) -> Any:
        self.n += 1
        if self.fails(self.n):
            raise OSError("the disk sighs")
        if self.n >= 6:
            raise StopIteration
        return picture(self.n)


def test_an_iterable_that_fails_once_goes_on() -> None:
    inspections = list(inspect_sources(FakeRuntime(), Failing(lambda n: n == 2)))
    assert codes(inspections) == ["OK", "OK", "source", "OK", "OK", "OK"]


def test_an_iterable_that_fails_for_good_ends_lost() -> None:
    stream = inspect_sources(FakeRuntime(), Failing(lambda n: n >= 2))
    assert codes(list(stream)) == ["OK"] * 2 + ["source"] * 10
    status = stream.status()["camera"]
    assert status.state is State.LOST
    assert status.reason is not None
    assert "10 times in a row" in status.reason


def test_inspect_holds_files_back_and_live_drops_frames() -> None:
    given = threading.Semaphore(0)
    read = 0

    def camera() -> Any:
        nonlocal read
        for n in range(200):
            read = n
            yield picture(n, (16, 16))

    settings = StreamSettings(queue=2, results=2)
    with inspect_sources(FakeRuntime(), camera(), settings=settings) as stream:
        next(stream)
        given.acquire(timeout=0.05)
        assert read < 10  # two waiting, two finished, one in each hand
        assert len([1, *stream]) == 200
    live = inspect_sources(FakeRuntime(), camera(), policy="live", settings=settings)
    first = next(live)
    while live.status()["camera"].state is not State.ENDED:
        given.acquire(timeout=0.005)
    inspections = [first, *live]
    assert inspections[-1].frame_id == 199
    assert sum(i.dropped for i in inspections) > 150
    assert sum(i.triggers + i.dropped for i in inspections) == 200


def test_several_cameras_share_batches_and_keep_their_order() -> None:
    runtime = FakeRuntime()
    sources = {name: [picture(n, (16, 16)) for n in range(30)] for name in ("left", "right")}
    settings = StreamSettings(deadline_ms=60_000, max_batch=2)
    inspections = list(inspect_sources(runtime, sources, settings=settings))
    for name in sources:
        assert [i.frame_id for i in inspections if i.camera == name] == list(range(30))
    assert runtime.batches.count(2) >= 15


def test_a_camera_overruns_only_its_own_triggers() -> None:
    go, blocked = threading.Event(), threading.Event()

    def score(_: Any) -> float:
        blocked.set()
        go.wait(10)
        return 0.5

    driver = Driver([0])
    settings = QUICK.model_copy(update={"queue": 2})
    with inspect_sources(FakeRuntime(score), driver, settings=settings, gate=None) as stream:
        assert blocked.wait(10)
        driver.script += [1, 2, 3, 4]
        while stream.status()["camera"].triggers < 5:
            time.sleep(0.001)
        go.set()
        assert codes([next(stream) for _ in range(5)]) == ["OK"] * 3 + ["overrun"] * 2


def test_the_gate_suits_the_source() -> None:
    frame = picture(3)
    assert codes(list(inspect_sources(FakeRuntime(), [frame] * 3))) == ["OK"] * 3
    strict = inspect_sources(FakeRuntime(), [frame] * 3, gate=GateSettings())
    assert codes(list(strict)) == ["OK", "frozen", "frozen"]
    dark = [np.zeros((16, 16), np.uint8)]
    assert codes(list(inspect_sources(FakeRuntime(), dark))) == ["black"]
    assert codes(list(inspect_sources(FakeRuntime(), dark, gate=None))) == ["OK"]


def test_old_frames_are_late() -> None:
    old = Frame(0, "old", picture(0), monotonic=time.monotonic() - 5)
    new = Frame(1, "new", picture(1))
    settings = StreamSettings(max_age_ms=4_000)
    inspections = list(inspect_sources(FakeRuntime(), [old, new], settings=settings))
    assert codes(inspections) == ["late", "OK"]
    assert inspections[0].latency_ms > 4_000


def test_ids_of_frames_are_followed() -> None:
    frames = [Frame(n, f"f{n}", picture(n), frame_id=n) for n in (0, 1, 3, 4, 4)]
    inspections = list(inspect_sources(FakeRuntime(), frames))
    assert codes(inspections) == ["OK", "OK", "missing", "OK", "OK", "duplicate"]
    assert [i.triggers for i in inspections] == [1, 1, 1, 1, 1, 0]


def test_leaving_the_loop_ends_all_threads() -> None:
    def forever() -> Any:
        n = 0
        while True:
            n += 1
            yield picture(n % 7, (16, 16))

    for _ in inspect_sources(FakeRuntime(), forever()):
        break
    gc.collect()
    assert gone()


def test_closing_does_not_wait_for_a_driver_that_hangs() -> None:
    never = threading.Event()
    driver = Driver([0, never])
    stream = inspect_sources(FakeRuntime(), driver, settings=QUICK, gate=None)
    assert next(stream).verdict is Verdict.OK
    start = time.monotonic()
    stream.close()
    assert time.monotonic() - start < 2.0
    assert list(stream) == []
    never.set()
    assert gone()


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Ctrl-C raises, also where the tests were started in the background, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_inside_the_loop_ends_it_at_once() -> None:
    driver = Driver([0])
    stream = inspect_sources(FakeRuntime(), driver, settings=QUICK, gate=None)
    assert next(stream).verdict is Verdict.OK
    threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        next(stream)
    assert gone()
    assert driver.closed == 1


def test_states_are_told_in_a_thread_that_may_fail() -> None:
    told: list[StateChange] = []

    def on_state(change: StateChange) -> None:
        told.append(change)
        raise RuntimeError("the listener is unwell")

    list(inspect_sources(FakeRuntime(), [picture(0)], on_state=on_state))
    assert gone()
    assert [c.state for c in told] == [State.STREAMING, State.ENDED]


def test_what_cannot_be_used_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no"):
        inspect_sources(FakeRuntime(), tmp_path / "none")
    with pytest.raises(SettingError, match="expected a folder"):
        inspect_sources(FakeRuntime(), 7)
    with pytest.raises(SettingError, match="by name"):
        inspect_sources(FakeRuntime(), {})
    for wrong in ({"policy": "best"}, {"mode": "guess"}, {"gate": "open"}):
        with pytest.raises(SettingError, match="got '"):
            inspect_sources(FakeRuntime(), [], **wrong)  # type: ignore[arg-type]
    assert pyad_threads() == []


def test_grabs_of_an_iterable_keep_their_time() -> None:
    grab = Grab(picture(0), frame_id=41, timestamp=1e9)
    (inspection,) = inspect_sources(FakeRuntime(), [grab])
    assert (inspection.frame_id, inspection.captured_at) == (41, 1e9)
    assert inspection.name == "camera#41"


@pytest.mark.parametrize("frame", [np.full((4, 4), "x", object), np.zeros((4, 4), [("a", "u1")])])
def test_a_frame_that_no_check_foresaw_is_a_fault_of_its_own(frame: Any) -> None:
    def score(image: Any) -> float:
        if image.dtype != np.uint8:
            raise DataError("[infer] expected uint8.")
        return 0.5

    frames = [picture(0), frame, picture(1)]
    assert codes(list(inspect_sources(FakeRuntime(score), frames))) == ["OK", "input", "OK"]
