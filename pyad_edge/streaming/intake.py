"""What waits for the network: bounded, in order, and every trigger accounted for."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from pyad_edge.streaming.record import Fault, FaultCode

__all__ = ["Intake", "Ticket"]

_MERGE_AFTER = 1024  # waiting tickets of one camera; from there on equal faults become one
_MOST_WAITING = 4096  # and from there on all of them, as an overrun


@dataclass(eq=False)
class Ticket:
    """A trigger on its way to its verdict.

    Attributes:
        camera, frame_id, name: see ``Inspection``.
        timestamp, monotonic: of the capture.
        arrived: ``time.monotonic`` when it was put into the intake.
        image: None where there is none to inspect.
        fault: known before the network; None: to be inspected.
        triggers: that it answers for.
        dropped: triggers that made way for it under ``live``.
        waits: its source waits for room, so it is never dropped.
    """

    camera: str
    frame_id: int
    name: str
    timestamp: float
    monotonic: float
    arrived: float
    image: NDArray[Any] | None = None
    fault: Fault | None = None
    triggers: int = 1
    dropped: int = 0
    waits: bool = False


@dataclass
class _Lane:
    """One camera's part of the intake."""

    images: int = 0
    waiting: int = 0
    triggers: int = 0
    last: Ticket | None = None
    ended: bool = False
    dropped: int = 0


class Intake:
    """A queue of tickets of several cameras, in the order of their arrival.

    Args:
        cameras: their names.
        capacity: images of one camera that may wait.
        live: the newest frame of a camera replaces the one that waits.
        clock: ``time.monotonic``.
    """

    def __init__(
        self, cameras: Sequence[str], *, capacity: int, live: bool, clock: Callable[[], float]
    ) -> None:
        self._changed = threading.Condition()
        self._lanes = {camera: _Lane() for camera in cameras}
        self._capacity = capacity
        self._live = live
        self._clock = clock
        self._queue: deque[Ticket] = deque()
        self._images = 0  # of tickets without a fault
        self._closed = False
        self._waiting_since: float | None = None

    def put(self, ticket: Ticket, *, wait: bool) -> bool:
        """Add a ticket.

        Args:
            ticket: new.
            wait: wait for room (sources that can). Otherwise a frame without room becomes an
                ``overrun``, or under ``live`` takes the place of the one that waits.

        Returns:
            False if the stream was closed; the ticket was not taken.
        """
        with self._changed:
            lane = self._lanes[ticket.camera]
            while wait and not self._closed and lane.images >= self._capacity:
                self._changed.wait()
            if self._closed:
                return False
            lane.triggers += ticket.triggers
            if self._live and not wait:
                self._replace(lane, ticket)
            elif not wait:
                if ticket.image is not None and lane.images >= self._capacity:
                    ticket.image = None
                    ticket.fault = ticket.fault or self._overrun(ticket)
                if self._merged(lane, ticket):
                    return True
            self._queue.append(ticket)
            if self._waiting_since is None:
                self._waiting_since = self._clock()
            lane.last = ticket
            lane.waiting += 1
            lane.images += ticket.image is not None
            self._images += ticket.fault is None
            self._changed.notify_all()
            return True

    def take(self, limit: int, close_at: Callable[[Ticket], float] | None) -> list[Ticket] | None:
        """Wait for the next batch: at most ``limit`` frames, and the faults between them.

        Args:
            limit: of frames.
            close_at: when to stop waiting for more, for the oldest frame; None: never wait.

        Returns:
            Tickets in order; None: nothing will come any more.
        """
        with self._changed:
            while not self._closed:
                if self._queue:
                    pause = self._pause(limit, close_at)
                    if pause <= 0.0:
                        break
                    self._changed.wait(pause)
                elif all(lane.ended for lane in self._lanes.values()):
                    return None
                else:
                    self._changed.wait()
            if self._closed:
                return None
            batch: list[Ticket] = []
            frames = 0
            while self._queue and len(batch) < limit + 64:
                if self._queue[0].fault is None:
                    if frames == limit:
                        break
                    frames += 1
                batch.append(self._queue.popleft())
                self._forget(batch[-1])
            self._waiting_since = self._clock() if self._queue else None
            self._changed.notify_all()
            return batch

    def end(self, camera: str) -> None:
        """Nothing will come from this camera any more."""
        with self._changed:
            self._lanes[camera].ended = True
            self._changed.notify_all()

    def close(self) -> None:
        """Let everybody go who waits here; what is queued is given up."""
        with self._changed:
            self._closed = True
            self._queue.clear()
            self._changed.notify_all()

    @property
    def waiting_since(self) -> float | None:
        """When a ticket first waited after the last batch was taken; None: none waits."""
        return self._waiting_since

    def counts(self, camera: str) -> tuple[int, int, int]:
        """Triggers that came, triggers dropped here, and tickets that wait."""
        with self._changed:
            lane = self._lanes[camera]
            return lane.triggers, lane.dropped, lane.waiting

    def _pause(self, limit: int, close_at: Callable[[Ticket], float] | None) -> float:
        """Seconds that the batch may wait for more."""
        oldest = self._queue[0]
        if close_at is None or oldest.fault is not None or self._images >= limit:
            return 0.0
        if all(lane.ended for lane in self._lanes.values()):
            return 0.0
        return close_at(oldest) - self._clock()

    def _forget(self, ticket: Ticket) -> None:
        lane = self._lanes[ticket.camera]
        lane.waiting -= 1
        lane.images -= ticket.image is not None
        self._images -= ticket.fault is None
        if lane.last is ticket:
            lane.last = None

    def _replace(self, lane: _Lane, ticket: Ticket) -> None:
        """Newest wins: what waits makes way, except that notices only make way for notices."""
        kept: deque[Ticket] = deque()
        for old in self._queue:
            notice = old.triggers == 0
            if old.camera != ticket.camera or notice != (ticket.triggers == 0):
                kept.append(old)
                continue
            self._forget(old)
            ticket.dropped += old.triggers + old.dropped
            lane.dropped += old.triggers
        self._queue = kept

    def _overrun(self, ticket: Ticket) -> Fault:
        return Fault(
            FaultCode.OVERRUN,
            f"[stream] {ticket.camera}: frame {ticket.frame_id} came while {self._capacity} frames "
            "waited. Inspect faster, trigger more slowly, or raise the setting 'queue'.",
        )

    def _merged(self, lane: _Lane, ticket: Ticket) -> bool:
        """Add a trigger to the ticket before, where too many faults wait to be kept one by one."""
        if lane.waiting < _MERGE_AFTER or ticket.fault is None or ticket.image is not None:
            return False
        if lane.waiting >= _MOST_WAITING:
            ticket.fault = self._overrun(ticket)
        last = lane.last
        if last is None or last.fault is None or last.fault.code is not ticket.fault.code:
            return False
        last.triggers += ticket.triggers
        return True
