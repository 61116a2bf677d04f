"""Settings of a stream: queues, deadlines, and when a camera counts as lost."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

__all__ = ["StreamSettings"]

Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Milliseconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class StreamSettings(BaseModel):
    """How a stream waits, batches, and judges its cameras.

    Attributes:
        queue: frames of one camera that may wait for the network under ``inspect``; one more is an
            ``overrun``. Files and iterables wait instead.
        results: finished inspections that may wait for the loop's body. Under ``inspect`` the
            network then waits too; under ``live`` the oldest is dropped and counted.
        max_batch: frames in one run of the network; none: the number of sources. Mode ``decide``
            takes one at a time.
        deadline_ms: after its capture, by when a frame's verdict is wanted. A batch that is not
            full waits for more until the oldest frame's deadline less the time that a batch takes.
            None: a batch never waits, it takes what is there.
        max_age_ms: a frame that is older when the driver hands it over is ``late``. None: never.
        reorder: frames that are held behind a gap in the device's ids, in case the missing one
            still comes (it is then ``late``). 0: a gap is reported at once.
        reorder_ms: the longest that they are held.
        max_gap: a larger jump of the device's counter is one fault that answers for all triggers.
        read_timeout_s: of one wait for a frame inside the driver, where the driver has such a wait.
        open_timeout_s: connecting may take so long, then the driver's thread is abandoned.
        stale_after_s: the driver has not answered for so long: STALE.
        lost_after_s: and for so long: LOST; its thread is abandoned and a new connection made.
        silent_after_s: the driver answers but no frame came for so long: disconnected. None for
            triggered cameras, where nothing may come for hours.
        close_timeout_s: a driver may take so long to close before its thread is abandoned.
        backoff_first_s, backoff_max_s: pause before the first attempt to reconnect; it doubles
            from attempt to attempt up to the second value.
        jitter: each pause is shortened by a random part of up to this fraction, so that cameras
            behind one switch do not all come back at once.
        max_attempts: attempts to connect in a row without a frame, after which the camera stays
            LOST and its part of the stream ends. None: never.
        max_abandoned: threads of one camera that may hang at one time, after which likewise.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    queue: int = Field(default=16, ge=1, le=4096)
    results: int = Field(default=16, ge=1, le=4096)
    max_batch: int | None = Field(default=None, ge=1, le=256)
    deadline_ms: Milliseconds | None = None
    max_age_ms: Milliseconds | None = None
    reorder: int = Field(default=1, ge=0, le=64)
    reorder_ms: Milliseconds = 100.0
    max_gap: int = Field(default=1000, ge=1, le=1_000_000)
    read_timeout_s: Seconds = 0.5
    open_timeout_s: Seconds = 15.0
    stale_after_s: Seconds = 2.0
    lost_after_s: Seconds = 5.0
    silent_after_s: Seconds | None = None
    close_timeout_s: Seconds = 2.0
    backoff_first_s: Seconds = 0.5
    backoff_max_s: Seconds = 30.0
    jitter: float = Field(default=0.25, ge=0, le=1)
    max_attempts: int | None = Field(default=None, ge=1)
    max_abandoned: int = Field(default=3, ge=1, le=64)

    @model_validator(mode="after")
    def _in_order(self) -> StreamSettings:
        if not self.read_timeout_s < self.stale_after_s < self.lost_after_s:
            raise ValueError(
                "expected read_timeout_s < stale_after_s < lost_after_s, got "
                f"{self.read_timeout_s}, {self.stale_after_s}, {self.lost_after_s}"
            )
        if self.backoff_first_s > self.backoff_max_s:
            raise ValueError(
                f"expected backoff_first_s <= backoff_max_s, got {self.backoff_first_s}, "
                f"{self.backoff_max_s}"
            )
        return self
