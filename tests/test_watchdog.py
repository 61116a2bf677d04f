"""What systemd is told: ready after the golden pictures, alive only while the stream gets on."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import call
from numpy.typing import NDArray
from stream_fakes import QUICK, Driver, FakeRuntime, picture
from tiny_engine import TinyEngine

from pyad_edge import SettingError
from pyad_edge.run_health import RunHealth
from pyad_edge.streaming import Grab, Stream, inspect_sources
from pyad_edge.watchdog import Notifier, Watchdog


class FakeSystemd:
    """The other end of ``NOTIFY_SOCKET``."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + address[1:] if address.startswith("@") else address)

    def next(self, timeout: float = 20.0) -> dict[str, str]:
        """The next message, its fields by name."""
        self._socket.settimeout(timeout)
        text = self._socket.recv(65536).decode()
        return dict(line.split("=", 1) for line in text.split("\n"))

    def all(self) -> list[dict[str, str]]:
        """What came so far."""
        found = []
        try:
            while True:
                found.append(self.next(0.001))
        except TimeoutError:
            return found

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[FakeSystemd]:
    fake = FakeSystemd(str(tmp_path / "notify"))
    yield fake
    fake.close()


def wait_for(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < until, "never happened"
        time.sleep(0.005)


def watchdog(systemd: FakeSystemd, health: RunHealth, seconds: float | None) -> Watchdog:
    environment = {"NOTIFY_SOCKET": systemd.address}
    if seconds is not None:
        environment |= {"WATCHDOG_USEC": str(round(seconds * 1e6))}
    return Watchdog.from_environment(health.stalled_s, health.status, environment)


def stream_of(runtime: FakeRuntime, source: object) -> Stream:
    return inspect_sources(runtime, source, settings=QUICK, gate=None)


@pytest.mark.parametrize("abstract", [False, True])
def test_messages_reach_paths_and_abstract_names(tmp_path: Path, abstract: bool) -> None:
    address = f"@pyad-{os.getpid()}" if abstract else str(tmp_path / "notify")
    fake = FakeSystemd(address)
    assert Notifier(address).send(READY=1, STATUS="two\nlines, ü")
    assert fake.next() == {"READY": "1", "STATUS": "two lines, ü"}
    fake.close()
    assert not Notifier(address).send(READY=1), "nobody listens any more"


def test_the_environment_says_who_wants_what() -> None:
    def made(**environment: str) -> Watchdog:
        return Watchdog.from_environment(lambda: 0.0, lambda: "", environment)

    assert made(WATCHDOG_USEC="3000000", WATCHDOG_PID=str(os.getpid())).limit_s == 1.5
    assert made(WATCHDOG_USEC="3000000", WATCHDOG_PID="1").limit_s is None
    assert made().limit_s is None
    for microseconds in (1, 300_000, 30_000_000, 3_600_000_000):
        one = made(WATCHDOG_USEC=str(microseconds))
        assert 0 < one.period_s < microseconds / 2e6
    for wrong in ("0", "-1", "soon", "", "1.5"):
        with pytest.raises(SettingError, match=r"expected WATCHDOG_USEC as a whole number"):
            made(WATCHDOG_USEC=wrong)
    with pytest.raises(SettingError, match=r"expected NOTIFY_SOCKET as a path or @name"):
        made(NOTIFY_SOCKET="vsock:2:1")


def test_run_says_ready_status_and_stopping(
    tiny: TinyEngine, systemd: FakeSystemd, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = ("--source", tiny.data / "test/good")
    monkeypatch.setenv("NOTIFY_SOCKET", systemd.address)
    monkeypatch.setenv("WATCHDOG_USEC", "60000000")
    answer = call("run", tiny.path, *source)
    assert answer.code == 0, answer.err
    messages = systemd.all()
    assert messages[0]["READY"] == "1"
    assert messages[1]["WATCHDOG"] == "1"
    assert messages[-1] == {"STOPPING": "1", "STATUS": "stopping"}
    assert sum("READY" in m for m in messages) == sum("STOPPING" in m for m in messages) == 1
    # Without systemd the same lines are printed.
    monkeypatch.delenv("NOTIFY_SOCKET")
    monkeypatch.delenv("WATCHDOG_USEC")
    alone = call("run", tiny.path, *source)
    assert [scores(line) for line in alone.out.splitlines()] == [
        scores(line) for line in answer.out.splitlines()
    ]
    assert systemd.all() == []


def scores(line: str) -> tuple[str, str, float]:
    record = json.loads(line)
    return record["name"], record["verdict"], record["score"]


def test_what_is_refused_is_never_ready(
    tiny: TinyEngine, systemd: FakeSystemd, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", systemd.address)
    content = bytearray(tiny.path.read_bytes())
    content[-1] ^= 1
    (tmp_path / "damaged.pyad").write_bytes(content)
    source = ("--source", tiny.data / "test/good")
    assert call("run", tmp_path / "damaged.pyad", *source).code == 4
    assert call("run", tiny.path, "--source", tiny.data / "nowhere").code == 3
    monkeypatch.setenv("WATCHDOG_USEC", "soon")
    assert call("run", tiny.path, *source).code == 2
    assert systemd.all() == []


def test_a_backend_that_hangs_starves_the_watchdog(systemd: FakeSystemd) -> None:
    hang, hanging = threading.Event(), threading.Event()

    def score(frame: NDArray[Any]) -> float:
        if frame[0, 0, 0] == 1:
            hanging.set()
            assert hang.wait(60)
        return 0.5

    frames = [np.full((48, 64, 3), value, np.uint8) for value in (0, 0, 1, 0)]
    health = RunHealth()
    with stream_of(FakeRuntime(score), iter(frames)) as stream:
        health.opened(stream)
        with watchdog(systemd, health, 0.6) as dog:
            dog.ready()
            assert systemd.next()["READY"] == "1"
            assert systemd.next()["WATCHDOG"] == "1"
            for _ in range(2):
                health.add(next(stream).to_dict())
            loop = threading.Thread(target=lambda: [health.add(i.to_dict()) for i in stream])
            loop.start()
            assert hanging.wait(20)
            wait_for(lambda: health.stalled_s() > 0.4)  # past the limit, plus a ping on its way
            systemd.all()
            starved = [systemd.next() for _ in range(4)]
            assert all("WATCHDOG" not in message for message in starved)
            assert "stands still for" in starved[-1]["STATUS"]
            assert "2 OK" in starved[-1]["STATUS"]
            hang.set()
            wait_for(lambda: "WATCHDOG" in systemd.next())
            loop.join(20)
        assert "4 OK" in health.status()


def test_a_body_that_waits_starves_it_too(systemd: FakeSystemd) -> None:
    with stream_of(FakeRuntime(), iter([picture(n) for n in range(3)])) as stream:
        next(stream)  # and here the loop prints into a pipe that nobody reads
        wait_for(lambda: stream.stalled_s() > 0.2)
        next(stream)
        next(stream)
        with pytest.raises(StopIteration):
            next(stream)


def test_a_camera_without_triggers_or_away_is_no_standstill() -> None:
    hang = threading.Event()
    driver = Driver([0, hang])  # one frame, then the driver hangs
    stream = stream_of(FakeRuntime(), driver)
    health = RunHealth()
    health.opened(stream)
    health.add(next(stream).to_dict())
    seen: list[str] = []

    def lost() -> bool:
        seen.append(stream.status()["camera"].state.value)
        return seen[-1] == "LOST" or stream.status()["camera"].abandoned > 0

    loop = threading.Thread(target=lambda: [health.add(i.to_dict()) for i in stream])
    loop.start()
    wait_for(lost)
    time.sleep(0.3)
    wait_for(lambda: health.stalled_s() < 0.1)  # a standstill would only grow
    driver.script += [Grab(picture(1), frame_id=1)]
    hang.set()
    stream.close()
    loop.join(20)
    assert "STALE" in seen


def test_frames_that_all_fail_are_no_progress() -> None:
    def score(frame: NDArray[Any]) -> float:
        if frame[0, 0, 0] < 200:
            raise ValueError("[fake] the device is lost.")
        return 0.5

    frames = [np.full((48, 64, 3), value, np.uint8) for value in (0,) * 12 + (255,)]
    health = RunHealth()
    with stream_of(FakeRuntime(score), iter(frames)) as stream:
        health.opened(stream)
        for _ in range(9):
            health.add(next(stream).to_dict())
        stream._body.rest()
        time.sleep(0.1)
        wait_for(lambda: health.stalled_s() < 0.1)  # a few frames may be at fault themselves
        for _ in range(3):
            health.add(next(stream).to_dict())
        assert health.stalled_s() >= 0.1, "counted from the first of them"
        assert "12 FAULT" in health.status()
        health.add(next(stream).to_dict())
        stream._body.rest()
        wait_for(lambda: health.stalled_s() < 0.1)


def test_faults_of_cameras_do_not_count(systemd: FakeSystemd) -> None:
    health = RunHealth()
    with stream_of(FakeRuntime(), iter([picture(0)])) as stream:
        health.opened(stream)
        next(stream)
        stream._body.rest()
        for _ in range(50):
            health.add({"verdict": "FAULT", "fault": "missing"})
        time.sleep(0.2)
        wait_for(lambda: health.stalled_s() < 0.1)  # a standstill would only grow
        with watchdog(systemd, health, None) as dog:
            dog.ready()
            assert systemd.next()["READY"] == "1"
            assert set(systemd.next()) == {"STATUS"}, "no watchdog was asked for"
