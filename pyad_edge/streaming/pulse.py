"""Since when something has been at one piece of work: what a watchdog asks."""

from __future__ import annotations

import time

__all__ = ["Pulse"]


class Pulse:
    """Of one thread, read by others.

    Attributes:
        busy: whether it is at work, or waits for work.
        changed: ``time.monotonic`` when it last got on.
    """

    def __init__(self) -> None:
        self.busy = False
        self.changed = time.monotonic()

    def work(self) -> None:
        """A piece of work begins, or the next part of it."""
        self.changed = time.monotonic()
        self.busy = True

    def rest(self) -> None:
        """It waits for work."""
        self.changed = time.monotonic()
        self.busy = False

    def stalled_s(self, work_waits_since: float | None = None) -> float:
        """Seconds without a step forward; 0.0 while there is nothing to do.

        Args:
            work_waits_since: ``time.monotonic`` since when work lies before a thread that rests.
        """
        if self.busy:
            return max(0.0, time.monotonic() - self.changed)
        if work_waits_since is None:
            return 0.0
        return max(0.0, time.monotonic() - max(work_waits_since, self.changed))
