"""The health of one camera's connection: a state machine without threads or a clock of its own."""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import Enum

from pyad_edge.streaming.record import FaultCode
from pyad_edge.streaming.settings import StreamSettings

__all__ = ["Action", "Link", "State", "StateChange", "SteadyClock"]


class State(str, Enum):
    """States of a camera."""

    CONNECTING = "CONNECTING"
    """The driver is opening the device."""
    STREAMING = "STREAMING"
    """The driver answers."""
    STALE = "STALE"
    """The driver has not answered for ``stale_after_s``."""
    LOST = "LOST"
    """No connection; a new one will be made unless the reason says otherwise."""
    ENDED = "ENDED"
    """A file or iterable came to its end, or the stream was closed."""

    def __str__(self) -> str:
        """The bare name."""
        return self.value


@dataclass(frozen=True)
class StateChange:
    """A camera's change of state.

    Attributes:
        camera: its name.
        state: the new one.
        previous: the old one.
        at: seconds since 1970.
        reason: a sentence where there is one to say.
    """

    camera: str
    state: State
    previous: State
    at: float
    reason: str | None


class Action(Enum):
    """What the supervisor has to do now."""

    NONE = 0
    CONNECT = 1
    ABANDON = 2


class Link:
    """Follows what the driver does and says when to give up on it and when to try again.

    Every method takes the time in seconds, of any clock that never goes back.

    Attributes:
        state: see ``State``.
        reason: of the last change to LOST.
        code: HANG or DISCONNECTED, of the last outage.
        failures: attempts and connections that failed since the last frame.
        connections: that delivered a frame.
    """

    def __init__(self, settings: StreamSettings, *, random_source: random.Random) -> None:
        self._settings = settings
        self._random = random_source
        self.state = State.CONNECTING
        self.reason: str | None = None
        self.code = FaultCode.DISCONNECTED
        self.failures = 0
        self.connections = 0
        self._opening = False
        self._answered: float | None = None
        self._frame_at = 0.0
        self._retry_at = float("-inf")

    def connecting(self, now: float) -> None:
        """A thread begins to open the device."""
        self.state = State.CONNECTING
        self._opening = True
        self._answered = now

    def opened(self, now: float) -> None:
        """The device is open; reading begins."""
        self._opening = False
        self._answered = now
        self._frame_at = now

    def answered(self, now: float, *, frame: bool) -> None:
        """The driver came back, with a frame or without one."""
        self._answered = now
        if frame:
            self._frame_at = now
            if self.failures or not self.connections:
                self.connections += 1
            self.failures = 0
        self.state = State.STREAMING

    def failed(self, now: float, code: FaultCode, reason: str) -> None:
        """The connection is gone; plan the next attempt."""
        self.state = State.LOST
        self.code, self.reason = code, reason
        self._answered = None
        pause = self._settings.backoff_first_s * 2.0 ** min(self.failures, 60)
        pause = min(pause, self._settings.backoff_max_s)
        self._retry_at = now + pause * (1.0 - self._settings.jitter * self._random.random())
        self.failures += 1

    def poll(self, now: float) -> tuple[Action, FaultCode, str]:
        """Look at the time: become STALE, give up on the driver, or connect.

        Returns:
            What to do; for ABANDON with the fault's code and a sentence.
        """
        s = self._settings
        if self._answered is None:
            action = Action.CONNECT if now >= self._retry_at else Action.NONE
            return action, self.code, self.reason or ""
        waited = now - self._answered
        if self._opening:
            if waited < s.open_timeout_s:
                return Action.NONE, self.code, ""
            return Action.ABANDON, FaultCode.HANG, f"did not open within {s.open_timeout_s:g} s"
        if waited >= s.lost_after_s:
            return Action.ABANDON, FaultCode.HANG, f"did not answer for {s.lost_after_s:g} s"
        if waited >= s.stale_after_s:
            self.state = State.STALE
        if s.silent_after_s is not None and now - self._frame_at >= s.silent_after_s:
            reason = f"gave no frame for {s.silent_after_s:g} s"
            return Action.ABANDON, FaultCode.DISCONNECTED, reason
        return Action.NONE, self.code, ""

    @property
    def exhausted(self) -> bool:
        """Whether ``max_attempts`` are used up."""
        limit = self._settings.max_attempts
        return limit is not None and self.failures >= limit


class SteadyClock:
    """Seconds during which this process could run.

    A process that was stopped, or starved by others, must not hold that time against drivers: their
    threads had no time to answer either.

    Args:
        period: seconds between ticks; a later one counts as four of them at most.
    """

    def __init__(self, period: float) -> None:
        self._longest = 4.0 * period
        self._last: float | None = None
        self._now = 0.0

    def tick(self, monotonic: float) -> float:
        """The steady time, from ``time.monotonic``."""
        if self._last is not None:
            self._now += max(0.0, min(monotonic - self._last, self._longest))
        self._last = monotonic
        return self._now
