"""What time is measured with; tests put a clock of their own in its place."""

from __future__ import annotations

import time
from typing import Protocol

__all__ = ["Clock", "SystemClock"]

SPIN = 0.0005  # seconds: sleeping is that much too coarse for an arrival time


class Clock(Protocol):
    """Seconds, and a way to wait for one."""

    def now(self) -> float:
        """Seconds since some moment; never goes back."""
        ...

    def wait_until(self, moment: float) -> None:
        """Return at ``moment``, at once if it has passed."""
        ...


class SystemClock:
    """``time.perf_counter``; waits by sleeping, the last half millisecond by looking."""

    def now(self) -> float:
        """Seconds of ``time.perf_counter``."""
        return time.perf_counter()

    def wait_until(self, moment: float) -> None:
        """Return at ``moment``, at once if it has passed."""
        while (left := moment - time.perf_counter()) > 0:
            if left > SPIN:
                time.sleep(left - SPIN)
