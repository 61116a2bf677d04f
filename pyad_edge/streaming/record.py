"""What a stream says about each trigger: a verdict, or a fault that has a name."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyad_edge.drift.alarm import DriftAlarm
from pyad_edge.result import Decision, Result, Verdict

__all__ = ["Fault", "FaultCode", "Inspection"]


class FaultCode(str, Enum):
    """Names of everything that can keep a trigger from getting a verdict."""

    # The device's frame counter.
    MISSING = "missing"
    """The device counted a trigger whose frame never came."""
    DUPLICATE = "duplicate"
    """A frame came a second time."""
    LATE = "late"
    """A frame came after its successor, or older than allowed."""
    # The way into the computer.
    OVERRUN = "overrun"
    """The frame came while the queue was full."""
    HANG = "hang"
    """The driver did not answer; triggers that were lost meanwhile have this code too."""
    DISCONNECTED = "disconnected"
    """The device was gone; triggers that were lost meanwhile have this code too."""
    UNREADABLE = "unreadable"
    """The file or frame could not be decoded."""
    SOURCE = "source"
    """The iterable that gives the frames raised an exception."""
    # The picture itself: the input gate.
    BLACK = "black"
    """Almost every pixel is dark."""
    WHITE = "white"
    """Almost every pixel is saturated."""
    FROZEN = "frozen"
    """The picture is the one before."""
    TORN = "torn"
    """Rows of another frame above or below a horizontal seam."""
    BLURRED = "blurred"
    """Too little fine structure."""
    WRONG_SIZE = "wrong_size"
    """Another height or width than expected."""
    WRONG_DTYPE = "wrong_dtype"
    """Another pixel type than expected."""
    # The inspection.
    INPUT = "input"
    """The engine cannot take such a frame."""
    BACKEND = "backend"
    """The network or the head failed, or gave a score that is not finite."""
    MEMORY = "memory"
    """Memory was used up."""


@dataclass(frozen=True)
class Fault:
    """Why there is no verdict.

    Attributes:
        code: for programs.
        reason: for people, a sentence.
    """

    code: FaultCode
    reason: str


@dataclass(frozen=True, eq=False)
class Inspection:
    """What a stream yields.

    Under every policy ``sum(i.triggers + i.dropped for i in stream)`` is the number of triggers.

    Attributes:
        camera: name of the source; "camera" where only one was given without a name.
        index: 0, 1, 2 ... per camera, in order; faults count too, dropped frames do not.
        frame_id: the device's own number where it has one, else a count of what came.
        name: path of the picture, "<video>#<n>" or "<camera>#<frame_id>".
        captured_at: seconds since 1970; of a frame that never came, when that was noticed.
        verdict: OK, REVIEW, NG or FAULT.
        result: a ``Result`` (mode "infer"), a ``Decision`` ("decide"), or None with a fault.
        fault: None unless the verdict is FAULT.
        latency_ms: from capture to verdict.
        queue_ms: the part of it spent waiting for the network.
        dropped: triggers of this camera that policy "live" dropped since its last inspection.
        triggers: that this inspection answers for: 1; 0 for a notice or a frame that came twice;
            more where a fault stands for a number of triggers at once.
        drift: alarms of the camera's drift monitor that stand; they change no verdict.
        drift_error: why that monitor could not take this frame; the verdict stands.
        image: the frame as it was inspected, None where there was none. Not part of ``to_dict``.
    """

    camera: str
    index: int
    frame_id: int
    name: str
    captured_at: float
    verdict: Verdict
    result: Result | Decision | None = None
    fault: Fault | None = None
    latency_ms: float = 0.0
    queue_ms: float = 0.0
    dropped: int = 0
    triggers: int = 1
    drift: tuple[DriftAlarm, ...] = ()
    drift_error: str | None = None
    image: NDArray[np.generic] | None = field(default=None, repr=False)

    def to_dict(self) -> dict[str, Any]:
        """One JSON object: everything except arrays; a result's own entries lie beside the rest.

        ``frame`` is ``index``, ``timestamp`` is ``captured_at``, ``fault`` the code and ``error``
        the reason, both absent where there is a verdict. ``drift`` is absent where no alarm stands,
        ``drift_error`` where the monitor took the frame.
        """
        record: dict[str, Any] = {
            "camera": self.camera,
            "frame": self.index,
            "frame_id": self.frame_id,
            "name": self.name,
            "timestamp": self.captured_at,
        }
        if self.result is not None:
            record |= self.result.to_dict()
        record |= {
            "verdict": self.verdict.value,
            "latency_ms": round(self.latency_ms, 3),
            "queue_ms": round(self.queue_ms, 3),
            "dropped": self.dropped,
            "triggers": self.triggers,
        }
        if self.fault is not None:
            record |= {"fault": self.fault.code.value, "error": self.fault.reason}
        if self.drift:
            record["drift"] = [alarm.to_dict() for alarm in self.drift]
        if self.drift_error is not None:
            record["drift_error"] = self.drift_error
        return record
