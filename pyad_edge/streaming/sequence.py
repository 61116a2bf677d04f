"""The device's frame ids: gaps, repetitions and late frames, each trigger answered once."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from pyad_edge.streaming.frames import Counter, Grab
from pyad_edge.streaming.record import Fault, FaultCode
from pyad_edge.streaming.settings import StreamSettings

__all__ = ["Numbered", "Sequencer"]

_REMEMBERED = 64  # ids; one further back is a counter that started again


@dataclass(frozen=True, eq=False)
class Numbered:
    """A trigger in its place.

    Attributes:
        frame_id: of the trigger.
        grab: what came for it; None: nothing.
        fault: why it cannot be inspected; None: it can.
        triggers: that it answers for.
    """

    frame_id: int
    grab: Grab | None
    fault: Fault | None = None
    triggers: int = 1


class Sequencer:
    """Puts a name to every irregularity of one camera's ids.

    Frames behind a gap are held back for ``reorder`` frames or ``reorder_ms``: if the missing one
    still comes it is LATE, in its place; if not it is MISSING. A frame that comes after it was
    reported MISSING is LATE and answers for no trigger, nor does a DUPLICATE.
    """

    def __init__(self, camera: str, settings: StreamSettings) -> None:
        self._camera = camera
        self._settings = settings
        self._last: int | None = None
        self._held: dict[int, tuple[Grab, float, int]] = {}  # id -> grab, since when, arrival
        self._late: set[int] = set()
        self._arrivals = 0
        self._seen: deque[int] = deque(maxlen=_REMEMBERED)
        self._outage: Fault | None = None
        self._counter: Counter = "device"

    def connected(self, counter: Counter) -> None:
        """A new connection begins; its ids mean what ``counter`` says."""
        self._counter = counter

    def outage(self, fault: Fault) -> list[Numbered]:
        """The connection broke: let go what is held; the triggers lost meanwhile get this fault."""
        out = self._release(float("inf"))
        self._outage = fault
        return out

    def push(self, grab: Grab, now: float) -> list[Numbered]:
        """Take a frame in; returns what is settled by it, in order."""
        self._arrivals += 1
        outage, self._outage = self._outage, None
        number = grab.frame_id
        if number is None:
            return [self._pass(0 if self._last is None else self._last + 1, grab)]
        if self._last is None:
            return [self._pass(number, grab)]
        if outage is not None and (self._counter == "session" or number <= self._last):
            self._seen.clear()
            return [self._pass(number, grab)]
        if number in self._seen or number in self._held:
            reason = f"[stream] {self._camera}: frame {number} came a second time."
            return [_fault(number, FaultCode.DUPLICATE, reason, grab=grab, triggers=0)]
        if number <= self._last:
            return self._backwards(number, grab)
        if outage is not None:
            out = self._lost(number, outage.code, outage.reason)
            return [*out, self._pass(number, grab)]
        if self._held and number < max(self._held):
            self._late.add(number)
        self._held[number] = (grab, now, self._arrivals)
        return self._release(now)

    def flush(self, now: float) -> list[Numbered]:
        """Let go what has been held for long enough."""
        return self._release(now) if self._held else []

    def finish(self) -> list[Numbered]:
        """The source ended: everything held comes out."""
        return self._release(float("inf"))

    def _release(self, now: float) -> list[Numbered]:
        out: list[Numbered] = []
        while self._held and self._last is not None:
            number = min(self._held)
            grab, since, arrival = self._held[number]
            if number != self._last + 1:
                gap = number - self._last - 1
                waiting = (
                    gap <= self._settings.max_gap
                    and self._arrivals - arrival < self._settings.reorder
                    and (now - since) * 1e3 < self._settings.reorder_ms
                )
                if waiting:
                    break
                out += self._lost(number, FaultCode.MISSING, "")
            del self._held[number]
            if number in self._late:
                self._late.discard(number)
                reason = f"[stream] {self._camera}: frame {number} came after its successor."
                out.append(_fault(number, FaultCode.LATE, reason, grab=grab))
                self._last = number
                self._seen.append(number)
            else:
                out.append(self._pass(number, grab))
        return out

    def _lost(self, number: int, code: FaultCode, why: str) -> list[Numbered]:
        """The triggers between the last frame and ``number``."""
        first, last = (self._last or 0) + 1, number - 1
        if last < first:
            return []
        if last - first + 1 > self._settings.max_gap:
            reason = why or (
                f"[stream] {self._camera}: the device's counter jumped from {first - 1} to "
                f"{number}; {last - first + 1} frames never came, or the device was set anew."
            )
            return [_fault(first, code, reason, triggers=last - first + 1)]
        return [
            _fault(
                lost,
                code,
                why
                or f"[stream] {self._camera}: frame {lost} never came; the device counted it "
                "(check cable, switch and bandwidth).",
            )
            for lost in range(first, last + 1)
        ]

    def _backwards(self, number: int, grab: Grab) -> list[Numbered]:
        """An id below the last one: late, or the counter started again."""
        last = self._last or 0
        if last - number < _REMEMBERED:
            reason = f"[stream] {self._camera}: frame {number} came after it was reported missing."
            self._seen.append(number)
            return [_fault(number, FaultCode.LATE, reason, grab=grab, triggers=0)]
        out = self._release(float("inf"))
        reason = (
            f"[stream] {self._camera}: the device's counter went back from {last} to {number}; it "
            "was started anew, and how many frames were lost is not known."
        )
        self._seen.clear()
        out.append(_fault(number, FaultCode.MISSING, reason, triggers=0))
        return [*out, self._pass(number, grab)]

    def _pass(self, number: int, grab: Grab) -> Numbered:
        self._last = number
        self._seen.append(number)
        if grab.error is not None or grab.image is None:
            reason = grab.error or f"[stream] {self._camera}: frame {number} has no image."
            return _fault(number, FaultCode.UNREADABLE, reason, grab=grab)
        return Numbered(number, grab)


def _fault(
    number: int, code: FaultCode, reason: str, *, grab: Grab | None = None, triggers: int = 1
) -> Numbered:
    return Numbered(number, grab, Fault(code, reason), triggers)
