"""The thread that runs the network: batches by deadline, one result or fault for every ticket."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any, Literal, Protocol

from numpy.typing import NDArray

from pyad_edge.errors import DataError, PyadError, ResourceError
from pyad_edge.result import Decision, Result, Verdict
from pyad_edge.streaming.intake import Intake, Ticket
from pyad_edge.streaming.outbox import Finished, Outbox
from pyad_edge.streaming.pulse import Pulse
from pyad_edge.streaming.record import Fault, FaultCode

__all__ = ["BatchClock", "Inspector", "Judge", "fault_of"]

Outcome = Result | Decision | Fault


class Inspector(Protocol):
    """What a stream needs of a ``Runtime``."""

    def infer(self, frame: NDArray[Any]) -> Result:
        """Inspect one frame."""

    def infer_batch(self, frames: Sequence[NDArray[Any]]) -> list[Result]:
        """Inspect several frames in one run."""

    def decide(self, frame: NDArray[Any]) -> Decision:
        """Inspect one frame with only the work that its verdict takes."""


class BatchClock:
    """When a batch that is not full has to start for its oldest frame to be in time.

    Args:
        deadline_s: after the capture.
        limit: frames in a full batch.
    """

    def __init__(self, deadline_s: float, limit: int) -> None:
        self._deadline = deadline_s
        self._seconds = [0.0] * (limit + 1)

    def measured(self, frames: int, seconds: float) -> None:
        """A batch of this size took so long. Slower is believed at once, faster bit by bit."""
        old = self._seconds[frames]
        self._seconds[frames] = seconds if seconds > old else old + 0.1 * (seconds - old)

    def close_at(self, oldest: Ticket) -> float:
        """``time.monotonic`` at which the batch of this oldest frame has to start.

        The expected time is the longest of any size up to a full batch, since more frames may come
        until then.
        """
        return oldest.monotonic + self._deadline - max(self._seconds)


class Judge:
    """Takes batches from the intake and puts what became of them into the outbox.

    Args:
        inspector: the runtime.
        intake, outbox: of the stream.
        mode: ``infer`` or ``decide``.
        limit: frames in a batch.
        deadline_s: see ``BatchClock``; None: batches never wait.

    Attributes:
        pulse: at work from taking a batch until its last answer is in the outbox.
    """

    def __init__(
        self,
        inspector: Inspector,
        intake: Intake,
        outbox: Outbox,
        *,
        mode: Literal["infer", "decide"],
        limit: int,
        deadline_s: float | None,
    ) -> None:
        self._inspector = inspector
        self._intake = intake
        self._outbox = outbox
        self._mode = mode
        self._limit = limit
        self.pulse = Pulse()
        self._clock = None if deadline_s is None else BatchClock(deadline_s, limit)

    def run(self) -> None:
        """The thread's body: until the intake ends or is closed."""
        failure: BaseException | None = None
        try:
            close_at = self._clock.close_at if self._clock is not None else None
            while (batch := self._intake.take(self._limit, close_at)) is not None:
                self.pulse.work()
                if not self._answer(batch):
                    break
                # Not kept over the wait for the next batch: frames are large.
                del batch
                self.pulse.rest()
        except BaseException as error:  # of this thread itself; the loop has to hear of it
            failure = error
        self._outbox.end(failure)

    def _answer(self, batch: list[Ticket]) -> bool:
        begun = time.monotonic()
        frames = [ticket for ticket in batch if ticket.fault is None]
        outcomes = iter(self._judge(frames))
        done = time.monotonic()
        if self._clock is not None and frames:
            self._clock.measured(len(frames), done - begun)
        for ticket in batch:
            if ticket.fault is not None:
                finished = Finished(ticket, None, ticket.fault, begun, begun)
            else:
                outcome = next(outcomes)
                if isinstance(outcome, Fault):
                    finished = Finished(ticket, None, outcome, begun, done)
                else:
                    finished = Finished(ticket, outcome, None, begun, done)
            if not self._outbox.put(finished):
                return False
            self.pulse.work()  # a loop that takes one after the other is no standstill
        return True

    def _judge(self, tickets: list[Ticket]) -> list[Outcome]:
        if len(tickets) > 1 and self._mode == "infer":
            try:
                images = [ticket.image for ticket in tickets if ticket.image is not None]
                results = self._inspector.infer_batch(images)
                return [_checked(r, t) for r, t in zip(results, tickets, strict=True)]
            except Exception:
                pass  # one by one below: only the frame at fault may suffer
        return [self._one(ticket) for ticket in tickets]

    def _one(self, ticket: Ticket) -> Outcome:
        try:
            if ticket.image is None:
                return Fault(FaultCode.UNREADABLE, f"[stream] {ticket.name} has no image.")
            if self._mode == "decide":
                return _checked(self._inspector.decide(ticket.image), ticket)
            return _checked(self._inspector.infer(ticket.image), ticket)
        except Exception as error:
            return fault_of(error)


def fault_of(error: BaseException) -> Fault:
    """Name what an inspection raised."""
    if isinstance(error, (MemoryError, ResourceError)):
        reason = (
            str(error)
            if isinstance(error, PyadError)
            else ("[infer] the memory of this machine is used up. Close other programs.")
        )
        return Fault(FaultCode.MEMORY, reason)
    if isinstance(error, DataError):
        return Fault(FaultCode.INPUT, str(error))
    if isinstance(error, (PyadError, ValueError)) and str(error):
        return Fault(FaultCode.BACKEND, str(error))
    what = f"{type(error).__name__}: {str(error) or 'no reason given'}"
    return Fault(FaultCode.BACKEND, f"[infer] unexpected {what}")


def _checked(result: Result | Decision, ticket: Ticket) -> Outcome:
    """A score that is no number is a fault, whatever it compares to."""
    score = result.score
    if (score is not None and not math.isfinite(score)) or result.verdict is Verdict.FAULT:
        return Fault(
            FaultCode.BACKEND,
            f"[infer] {ticket.name} has the score {score}, expected a finite number. The network "
            "or the frame gives values that are none.",
        )
    return result
