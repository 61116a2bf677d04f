"""A simulated line: a camera with a trigger counter, and faults at triggers that are known.

For tests, benchmarks, and to try out how a line's software answers to each fault.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyad_edge.errors import SettingError
from pyad_edge.streaming.frames import Counter as IdCounter
from pyad_edge.streaming.frames import Grab
from pyad_edge.streaming.record import FaultCode, Inspection

__all__ = ["EXPECTED", "Ledger", "SimulatedLine"]

EXPECTED: Mapping[str, FaultCode] = MappingProxyType(
    {
        "drop": FaultCode.MISSING,
        "duplicate": FaultCode.DUPLICATE,
        "late": FaultCode.LATE,
        "black": FaultCode.BLACK,
        "frozen": FaultCode.FROZEN,
        "torn": FaultCode.TORN,
        "wrong_size": FaultCode.WRONG_SIZE,
        "wrong_dtype": FaultCode.WRONG_DTYPE,
        "hang": FaultCode.HANG,
        "disconnect": FaultCode.DISCONNECTED,
    }
)
_LONGEST_OUTAGE = 3  # triggers that a hang or disconnection costs, at most
_ROOM = 4 + _LONGEST_OUTAGE  # between two faults, so that each has healthy frames around it


class SimulatedLine:
    """The line behind the camera; it goes on while connections come and go.

    ``line.device`` is the source to give to a stream. A trigger is due every ``period_s``, and not
    before the stream has answered all but the last ``window`` ones (the line's interlock).

    Args:
        pictures: (H, W, 3) or (H, W) uint8, at least 8 that all differ in every row with structure;
            shown in turn.
        triggers: in all.
        share: of triggers at which each kind of fault is injected, 0 to 0.014.
        seed: of their places.
        period_s: between triggers.
        window: see above.

    Attributes:
        plan: kind of fault by trigger, for those that have one; the further triggers of an outage
            are in it too.

    Raises:
        SettingError: if pictures or share cannot be used.
    """

    def __init__(
        self,
        pictures: Sequence[NDArray[np.uint8]],
        *,
        triggers: int,
        share: float,
        seed: int,
        period_s: float,
        window: int,
    ) -> None:
        if len(pictures) < 8:
            raise SettingError(f"[simulate] expected at least 8 pictures, got {len(pictures)}.")
        self.triggers = triggers
        self.plan = _plan(triggers, share, np.random.default_rng(seed))
        self._pictures = pictures
        self._period = period_s
        self._window = window
        self._changed = threading.Condition()
        self._next = 0
        self._answered = -1
        self._due = 0.0
        self._pending: list[Grab] = []
        self._shown: NDArray[Any] = pictures[-1]
        self._connections = 0
        self._closed = False

    def device(self) -> _SimulatedDevice:
        """A new connection to the camera."""
        with self._changed:
            self._connections += 1
            self._changed.notify_all()
        return _SimulatedDevice(self)

    def answered(self, inspection: Inspection) -> None:
        """Tell the interlock what the stream has answered."""
        with self._changed:
            self._answered = max(self._answered, inspection.frame_id)
            self._changed.notify_all()

    def close(self) -> None:
        """Wake a driver that hangs."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def read(self, timeout: float, connected: Callable[[], bool]) -> Grab | None:
        """The next frame, for the device that is connected."""
        with self._changed:
            if self._pending:
                return self._pending.pop(0)
            if not self._trigger(time.monotonic() + timeout) or not connected():
                return None
            number = self._next
            kind = self.plan.get(number)
            self._next += 1
            if kind in ("hang", "disconnect"):
                while self.plan.get(self._next) == kind and self._next - number < _LONGEST_OUTAGE:
                    self._next += 1
            elif kind == "drop":
                number, self._next = self._next, self._next + 1
            elif kind == "late":
                late = self._grab(number, self._show(number))
                number, self._next = self._next, self._next + 1
                self._pending.append(late)
        if kind == "disconnect":
            raise ConnectionError(f"simulated: unplugged at trigger {number}")
        if kind == "hang":
            self._until_abandoned()
            return self._grab(number, self._pictures[0])  # nobody listens any more
        grab = self._grab(number, self._picture(number, kind))
        if kind == "duplicate":
            self._pending.append(grab)
        return grab

    def _until_abandoned(self) -> None:
        """Hang until a new connection was made: no sooner, however slow this computer is."""
        with self._changed:
            mine = self._connections
            while self._connections == mine and not self._closed:
                self._changed.wait()

    def _trigger(self, until: float) -> bool:
        """Wait until the next trigger is due and the interlock lets it pass."""
        while True:
            now = time.monotonic()
            if self._next >= self.triggers or now >= until:
                self._changed.wait(max(0.0, until - now))
                return False
            free = self._next - self._answered <= self._window
            if free and now >= self._due:
                self._due = max(self._due + self._period, now)
                return True
            self._changed.wait(min(until, self._due if free else until) - now)

    def _grab(self, number: int, image: NDArray[Any]) -> Grab:
        return Grab(image, frame_id=number)

    def _show(self, number: int) -> NDArray[Any]:
        picture: NDArray[Any] = self._pictures[number % len(self._pictures)].copy()
        return picture

    def _picture(self, number: int, kind: str | None) -> NDArray[Any]:
        picture, before = self._show(number), self._shown
        if kind == "black":
            return (picture // 100).astype(np.uint8)
        if kind == "frozen":
            return np.array(before)
        if kind == "torn":
            seam = picture.shape[0] // 2
            picture[:seam] = before[:seam]
            return picture
        if kind == "wrong_size":
            return np.ascontiguousarray(picture[:-8])
        if kind == "wrong_dtype":
            return np.asarray(picture, np.uint16)
        self._shown = picture
        return picture


class _SimulatedDevice:
    """One connection; see ``Device``."""

    counter: IdCounter = "device"

    def __init__(self, line: SimulatedLine) -> None:
        self._line = line
        self._open = False

    def open(self) -> None:
        self._open = True

    def read(self, timeout: float) -> Grab | None:
        return self._line.read(timeout, lambda: self._open)

    def close(self) -> None:
        self._open = False


class Ledger:
    """Compares what was injected with what was reported, trigger by trigger.

    Attributes:
        table: (injected, reported) -> triggers; "none" where there was no fault.
        answers: triggers that inspections answered for.
        dropped: that were dropped and counted.
        twice: triggers with more than one answer.
    """

    def __init__(self, line: SimulatedLine) -> None:
        self._line = line
        self._answered = np.zeros(line.triggers, np.bool_)
        self.table: Counter[tuple[str, str]] = Counter()
        self.answers = 0
        self.dropped = 0
        self.twice = 0

    def add(self, inspection: Inspection) -> None:
        """Enter an inspection."""
        self.answers += inspection.triggers
        self.dropped += inspection.dropped
        reported = inspection.fault.code.value if inspection.fault is not None else "none"
        injected = self._line.plan.get(inspection.frame_id, "none")
        if inspection.triggers == 0:
            if inspection.frame_id >= 0:  # a notice of an outage has no frame
                self.table[injected, reported] += 1
            return
        self.twice += bool(self._answered[inspection.frame_id])
        self._answered[inspection.frame_id] = True
        if injected == "duplicate" and reported == "none":
            return  # the first of the two is good; the second one counts
        self.table[injected, reported] += 1

    @property
    def unnamed(self) -> dict[tuple[str, str], int]:
        """What is off the diagonal."""
        return {
            (injected, reported): count
            for (injected, reported), count in self.table.items()
            if reported != (EXPECTED[injected].value if injected in EXPECTED else "none")
        }


def _plan(triggers: int, share: float, rng: np.random.Generator) -> dict[int, str]:
    """Faults at random places, as many of each kind, with healthy triggers between them."""
    if share == 0:
        return {}
    block = round(1.0 / (share * len(EXPECTED)))
    if block < _ROOM:
        raise SettingError(
            f"[simulate] expected a share of at most {1 / (_ROOM * len(EXPECTED)):.4f} for each "
            f"kind of fault, got {share:g}."
        )
    kinds: list[str] = []
    while len(kinds) * block < triggers:
        kinds += [str(kind) for kind in rng.permutation(list(EXPECTED))]
    plan = {}
    for n in range(triggers // block):
        start = n * block + 2 + int(rng.integers(block - _ROOM + 1))
        length = int(rng.integers(_LONGEST_OUTAGE)) + 1 if kinds[n] in ("hang", "disconnect") else 1
        for trigger in range(start, start + length):
            plan[trigger] = kinds[n]
    return plan
