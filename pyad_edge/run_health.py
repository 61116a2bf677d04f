"""Whether ``pyad-edge run`` gets on, and one sentence about it."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

from pyad_edge.streaming import FaultCode, State, Stream

__all__ = ["RunHealth"]

_FAILURES = 10  # frames in a row that network or memory failed; one or two may be the frames' fault
_MACHINE = {FaultCode.BACKEND.value, FaultCode.MEMORY.value}


class RunHealth:
    """Fed by the loop, asked by the watchdog's thread."""

    def __init__(self) -> None:
        self._stream: Stream | None = None
        self._verdicts: Counter[str] = Counter()
        self._failures = 0
        self._failing_since = 0.0
        self._unwatched = 0

    def opened(self, stream: Stream) -> None:
        """Engine and sources are open."""
        self._stream = stream

    def add(self, record: dict[str, Any]) -> None:
        """An inspection is done."""
        self._verdicts[record["verdict"]] += 1
        self._unwatched += "drift_error" in record
        if record.get("fault") in _MACHINE:
            self._failing_since = self._failing_since if self._failures else time.monotonic()
            self._failures += 1
        elif record["verdict"] != "FAULT":  # a lost frame says nothing about the network
            self._failures = 0

    def stalled_s(self) -> float:
        """Seconds without progress: see ``Stream.stalled_s``; frames that all fail are none."""
        if self._stream is None:
            return 0.0
        stalled = self._stream.stalled_s()
        if self._failures >= _FAILURES:
            return max(stalled, time.monotonic() - self._failing_since)
        return stalled

    def waiting(self) -> int:
        """Triggers that came and have no answer yet."""
        cameras = self._stream.status().values() if self._stream is not None else ()
        return sum(c.triggers - c.inspected - c.dropped for c in cameras)

    def status(self) -> str:
        """One sentence: cameras that are not streaming, and verdicts so far."""
        if self._stream is None:
            return "opening the engine"
        cameras = self._stream.status()
        away = [
            f"{name} {camera.state.value}" + (f" ({camera.reason})" if camera.reason else "")
            for name, camera in cameras.items()
            if camera.state is not State.STREAMING
        ]
        counts = ", ".join(
            f"{self._verdicts[name]} {name}" for name in ("OK", "REVIEW", "NG", "FAULT")
        )
        dropped = sum(camera.dropped for camera in cameras.values())
        blind = f", drift monitor failed for {self._unwatched}" if self._unwatched else ""
        return f"{'; '.join(away) or 'inspecting'}: {counts}, {dropped} dropped{blind}"
