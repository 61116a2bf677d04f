"""What waits for the loop's body: finished tickets, in order."""

from __future__ import annotations

import threading
from collections import Counter, deque
from dataclasses import dataclass

from pyad_edge.result import Decision, Result
from pyad_edge.streaming.intake import Ticket
from pyad_edge.streaming.record import Fault

__all__ = ["Finished", "Outbox"]


@dataclass(eq=False)
class Finished:
    """A ticket with its result or fault.

    Attributes:
        ticket: of the trigger.
        result: None with a fault.
        fault: None with a result.
        begun, done: ``time.monotonic`` when its batch began and ended.
    """

    ticket: Ticket
    result: Result | Decision | None
    fault: Fault | None
    begun: float
    done: float


class Outbox:
    """A bounded queue between the network's thread and the loop.

    Args:
        capacity: finished tickets that may wait.
        live: a full box drops the oldest of a camera, if something newer of that camera is there to
            report it; frames of files and all under ``inspect`` make ``put`` wait instead.
    """

    def __init__(self, *, capacity: int, live: bool) -> None:
        self._changed = threading.Condition()
        self._capacity = capacity
        self._live = live
        self._queue: deque[Finished] = deque()
        self._carry: Counter[str] = Counter()
        self._dropped: Counter[str] = Counter()
        self._ended = False
        self._closed = False
        self._failure: BaseException | None = None

    def put(self, finished: Finished) -> bool:
        """Add one; False if the stream was closed."""
        with self._changed:
            while len(self._queue) >= self._capacity and not self._closed:
                if not self._live or finished.ticket.waits:
                    self._changed.wait()
                elif not self._drop(finished.ticket.camera):
                    break  # one of each camera at most: the box is smaller than their number
            if self._closed:
                return False
            self._queue.append(finished)
            self._changed.notify_all()
            return True

    def get(self) -> Finished | None:
        """Wait for the next one; None: the stream is over.

        Raises:
            BaseException: what ended the network's thread, if anything did.
        """
        with self._changed:
            while not (self._queue or self._ended or self._closed):
                self._changed.wait()
            if self._closed or not self._queue:
                if self._failure is not None:
                    raise self._failure
                return None
            finished = self._queue.popleft()
            finished.ticket.dropped += self._carry.pop(finished.ticket.camera, 0)
            self._changed.notify_all()
            return finished

    def end(self, failure: BaseException | None = None) -> None:
        """Nothing more will be put."""
        with self._changed:
            self._ended = True
            self._failure = failure
            self._changed.notify_all()

    def close(self) -> None:
        """Let everybody go who waits here."""
        with self._changed:
            self._closed = True
            self._queue.clear()
            self._changed.notify_all()

    def _drop(self, newest: str) -> bool:
        """Drop the oldest whose camera has a newer one to report it; False: there is none."""
        cameras = Counter(finished.ticket.camera for finished in self._queue)
        for n, finished in enumerate(self._queue):
            old = finished.ticket
            if not old.waits and (old.camera == newest or cameras[old.camera] > 1):
                del self._queue[n]
                self._carry[old.camera] += old.triggers + old.dropped
                self._dropped[old.camera] += old.triggers
                return True
        return False

    def dropped(self, camera: str) -> int:
        """Triggers of this camera that were dropped here."""
        with self._changed:
            return self._dropped[camera]
