"""A camera whose driver may hang: it is called in threads that can be left behind."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable

from pyad_edge.streaming.frames import Device, Grab
from pyad_edge.streaming.lane import Lane
from pyad_edge.streaming.link import Action, Link, State, StateChange
from pyad_edge.streaming.record import Fault, FaultCode
from pyad_edge.streaming.settings import StreamSettings

__all__ = ["Camera"]

_log = logging.getLogger("pyad_edge.streaming")


class _Session:
    """One connection: a device object and the thread that calls it."""

    def __init__(self) -> None:
        self.thread: threading.Thread | None = None
        self.current = True
        self.closing_since: float | None = None


class Camera:
    """Keeps one camera connected, whatever its driver does.

    ``poll`` is called again and again by the stream's supervisor, with a time that stands still
    while the whole process does; nothing here waits for the driver.

    Args:
        lane: where frames go.
        make: makes a new device for every connection.
        settings: of the stream.
        changed: hears of every change of state.
        random_source: for the jitter of the pauses.
    """

    def __init__(
        self,
        lane: Lane,
        make: Callable[[], Device],
        settings: StreamSettings,
        *,
        changed: Callable[[StateChange], None],
        random_source: random.Random,
    ) -> None:
        self.lane = lane
        self._make = make
        self._settings = settings
        self._changed = changed
        self._lock = threading.Lock()
        self._link = Link(settings, random_source=random_source)
        self._told = State.LOST  # before anything was said; CONNECTING is the first to be told
        self._now = 0.0
        self._session: _Session | None = None
        self._closing: _Session | None = None
        self._abandoned: list[_Session] = []
        self._ended = False
        self._noticed = False

    @property
    def state(self) -> State:
        """See ``State``."""
        return self._told

    @property
    def reason(self) -> str | None:
        """Why it is LOST, or was last."""
        return self._link.reason

    @property
    def reconnects(self) -> int:
        """Connections after the first that delivered a frame."""
        return max(0, self._link.connections - 1)

    @property
    def abandoned(self) -> int:
        """Threads that still hang in the driver."""
        return sum(s.thread is not None and s.thread.is_alive() for s in self._abandoned)

    def poll(self, now: float) -> None:
        """Look after the connection.

        Args:
            now: seconds, of the supervisor's clock.
        """
        self.lane.tick()
        with self._lock:
            self._now = now
            if self._ended:
                return
            if self._closing is not None and not self._settled(self._closing, now):
                return
            action, code, what = self._link.poll(now)
            if action is Action.ABANDON and self._session is not None:
                self._abandon(self._session)
                self._lose(now, code, f"the driver {what}")
            elif action is Action.CONNECT:
                self._connect(now)
            self._tell()

    def stop(self) -> None:
        """Take no more frames; the driver's thread closes the device and ends when it can."""
        with self._lock:
            if self._session is not None:
                self._session.current = False
            if not self._ended:  # one that was given up stays LOST
                self._ended = True
                self._link.state = State.ENDED
                self._tell()

    def join(self, until: float) -> None:
        """Wait for the driver's threads, at most until then (``time.monotonic``)."""
        for session in (self._session, self._closing):
            thread = session.thread if session is not None else None
            if thread not in (None, threading.current_thread()):
                thread.join(max(0.0, until - time.monotonic()))

    def _connect(self, now: float) -> None:
        """Begin a connection in a thread of its own, unless that is hopeless."""
        if self._link.exhausted:
            self._give_up(f"{self._link.failures} attempts to connect failed")
        elif self.abandoned >= self._settings.max_abandoned:
            self._give_up(
                f"{self.abandoned} threads hang in its driver, which only a new process can cure"
            )
        else:
            self._abandoned = [s for s in self._abandoned if s.thread and s.thread.is_alive()]
            self._link.connecting(now)
            session = self._session = _Session()
            session.thread = threading.Thread(
                target=self._run, args=(session,), name=f"pyad-{self.lane.camera}", daemon=True
            )
            session.thread.start()

    def _settled(self, session: _Session, now: float) -> bool:
        """Whether the old connection's thread is gone, or has had its time and is abandoned."""
        if session.thread is not None and session.thread.is_alive():
            if session.closing_since is None:
                session.closing_since = now
            if now - session.closing_since < self._settings.close_timeout_s:
                return False
            self._abandoned.append(session)
        self._closing = None
        return True

    def _abandon(self, session: _Session) -> None:
        session.current = False
        self._abandoned.append(session)
        self._session = None

    def _lose(self, now: float, code: FaultCode, what: str) -> None:
        reason = f"[stream] {self.lane.camera}: {what}. A new connection will be made."
        self._link.failed(now, code, reason)
        self.lane.outage(Fault(code, reason), notice=not self._noticed)
        self._noticed = True
        self._tell()

    def _give_up(self, why: str) -> None:
        self._ended = True
        reason = (
            f"[stream] {self.lane.camera} stays LOST: {why}. Last: {self._link.reason or 'none'} "
            "Check the camera, then start again."
        )
        self._link.state, self._link.reason = State.LOST, reason
        self._told = State.CONNECTING  # so that the final LOST is told, with its reason
        self._tell()
        self.lane.outage(Fault(self._link.code, reason), notice=True)
        self.lane.end()

    def _tell(self) -> None:
        state, previous = self._link.state, self._told
        if state is previous:
            return
        self._told = state
        reason = self._link.reason if state is State.LOST else None
        level = logging.WARNING if state in (State.STALE, State.LOST) else logging.INFO
        _log.log(level, "%s: %s -> %s %s", self.lane.camera, previous, state, reason or "")
        self._changed(StateChange(self.lane.camera, state, previous, time.time(), reason))

    # What follows runs in a connection's own thread.

    def _run(self, session: _Session) -> None:
        device: Device | None = None
        try:
            device = self._make()
            device.open()
            with self._lock:
                going = session.current
                if going:
                    self.lane.connected(device.counter)
                    self._link.opened(self._now)
            while going:
                going = self._take(session, device.read(self._settings.read_timeout_s))
        except BaseException as error:  # a driver may raise anything; nobody above would hear it
            self._failed(session, error)
        finally:
            if device is not None:
                try:
                    device.close()
                except BaseException as error:
                    _log.warning("%s: closing failed: %r", self.lane.camera, error)

    def _take(self, session: _Session, grab: Grab | None) -> bool:
        """Hand a frame on, unless this thread was abandoned meanwhile."""
        with self._lock:
            if not session.current:
                return False
            self._link.answered(self._now, frame=grab is not None)
            self._tell()
            if grab is None:
                return True
            self._noticed = False
            return self.lane.accept(grab)

    def _failed(self, session: _Session, error: BaseException) -> None:
        with self._lock:
            if not session.current:
                return
            session.current = False
            self._session, self._closing = None, session
            what = str(error) or "no reason given"
            name = type(error).__name__
            self._lose(self._now, FaultCode.DISCONNECTED, f"the driver failed ({name}: {what})")
