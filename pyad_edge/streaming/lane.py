"""One camera's way into the intake: frame ids in order, the input gate, a ticket for each."""

from __future__ import annotations

import math
import operator
import threading
import time
from dataclasses import replace

import numpy as np

from pyad_edge.streaming.frames import Counter, Grab
from pyad_edge.streaming.gate import Gate
from pyad_edge.streaming.intake import Intake, Ticket
from pyad_edge.streaming.record import Fault, FaultCode
from pyad_edge.streaming.sequence import Numbered, Sequencer
from pyad_edge.streaming.settings import StreamSettings

__all__ = ["Lane"]


class Lane:
    """Turns what a source hands over into tickets.

    Args:
        camera: its name.
        intake: of the stream.
        settings: of the stream.
        gate: of this camera; None: off.
        waits: whether the source can wait for room.
    """

    def __init__(
        self,
        camera: str,
        intake: Intake,
        settings: StreamSettings,
        *,
        gate: Gate | None,
        waits: bool,
    ) -> None:
        self.camera = camera
        self.waits = waits
        self.last_frame_at: float | None = None
        self._intake = intake
        self._settings = settings
        self._gate = gate
        self._sequencer = Sequencer(camera, settings)
        self._lock = threading.Lock()

    def accept(self, grab: Grab) -> bool:
        """Take a frame in; False if the stream was closed."""
        now = time.monotonic()
        grab = _plain(grab, now)
        with self._lock:
            self.last_frame_at = grab.timestamp
            return self._emit(self._sequencer.push(grab, now), now)

    def connected(self, counter: Counter) -> None:
        """A new connection begins."""
        with self._lock:
            self._sequencer.connected(counter)

    def outage(self, fault: Fault, *, notice: bool) -> None:
        """The connection broke.

        Args:
            fault: for the triggers that are lost until the next frame.
            notice: say so at once, with an inspection that answers for no trigger.
        """
        now = time.monotonic()
        with self._lock:
            held = self._sequencer.outage(fault)
            if notice:
                held.append(Numbered(-1, None, fault, triggers=0))
            self._emit(held, now)

    def fault(self, fault: Fault) -> bool:
        """A trigger of a source without ids that gave no frame; False if the stream was closed."""
        now = time.monotonic()
        with self._lock:
            return self._emit([Numbered(-1, None, fault)], now)

    def tick(self) -> None:
        """Let go what is held behind a gap for long enough."""
        # A source that waits holds the lock while it does; nothing is more urgent then.
        if self._lock.acquire(blocking=False):
            try:
                now = time.monotonic()
                self._emit(self._sequencer.flush(now), now)
            finally:
                self._lock.release()

    def end(self) -> None:
        """Nothing more will come."""
        with self._lock:
            self._emit(self._sequencer.finish(), time.monotonic())
            self._intake.end(self.camera)

    def _emit(self, numbered: list[Numbered], now: float) -> bool:
        open_ = True
        for item in numbered:
            fault = item.fault or self._look(item, now)
            open_ = self._intake.put(self._ticket(item, fault, now), wait=self.waits)
        return open_

    def _look(self, item: Numbered, now: float) -> Fault | None:
        """The checks of a frame that came in its place."""
        grab, limit = item.grab, self._settings.max_age_ms
        if grab is None or grab.image is None:
            return None
        age = (now - grab.monotonic) * 1e3
        if limit is not None and age > limit:
            return Fault(
                FaultCode.LATE,
                f"[stream] {self.camera}: frame {item.frame_id} was {age:.0f} ms old when it came, "
                f"expected at most {limit:g} ms.",
            )
        if self._gate is None or not isinstance(grab.image, np.ndarray):
            return None  # a picture on a device is not fetched to be looked at
        try:
            return self._gate.check(grab.image)
        except Exception as error:  # of a picture that no check foresaw; not of the source
            what = f"{type(error).__name__}: {str(error) or 'no reason given'}"
            return Fault(
                FaultCode.INPUT, f"[gate] {self.camera}: no check fits the frame ({what})."
            )

    def _ticket(self, item: Numbered, fault: Fault | None, now: float) -> Ticket:
        grab = item.grab
        name = grab.name if grab is not None and grab.name is not None else None
        return Ticket(
            camera=self.camera,
            frame_id=item.frame_id,
            name=name or (f"{self.camera}#{item.frame_id}" if item.frame_id >= 0 else self.camera),
            timestamp=grab.timestamp if grab is not None else time.time(),
            monotonic=grab.monotonic if grab is not None else now,
            arrived=now,
            image=grab.image if grab is not None else None,
            fault=fault,
            triggers=item.triggers,
            waits=self.waits,
        )


def _plain(grab: Grab, now: float) -> Grab:
    """What a driver says about a frame, as plain numbers; no capture lies in the future."""
    number, error = grab.frame_id, grab.error
    if type(number) is not int and number is not None:
        try:
            number = operator.index(number)  # NumPy's integers wrap around in the arithmetic
        except TypeError:
            error = error or (
                f"[stream] expected an integer as frame id, got {number!r}. Give the device's own "
                "counter, or None."
            )
            number = None
    monotonic = float(grab.monotonic)
    if not -math.inf < monotonic <= now:
        monotonic = now
    timestamp = float(grab.timestamp)
    if not math.isfinite(timestamp):
        timestamp = time.time()
    was = (grab.frame_id, grab.error, grab.monotonic, grab.timestamp)
    if type(number) is type(grab.frame_id) and (number, error, monotonic, timestamp) == was:
        return grab
    return replace(grab, frame_id=number, error=error, monotonic=monotonic, timestamp=timestamp)
