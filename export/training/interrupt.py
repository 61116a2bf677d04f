"""Ctrl-C during a training: the step in progress is finished first."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

__all__ = ["Interruption", "finish_the_step"]


class Interruption:
    """Whether Ctrl-C was pressed."""

    requested = False


@contextlib.contextmanager
def finish_the_step() -> Iterator[Interruption]:
    """Note the first Ctrl-C instead of raising; a second one stops at once.

    Outside the main thread, where signals do not arrive, nothing is noted.
    """
    interruption = Interruption()
    if threading.current_thread() is not threading.main_thread():
        yield interruption
        return
    before = signal.getsignal(signal.SIGINT)
    if before is not signal.default_int_handler:  # ignored, or somebody else's: theirs to decide
        yield interruption
        return

    def note(number: int, frame: FrameType | None) -> None:
        interruption.requested = True
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, note)
    try:
        yield interruption
    finally:
        signal.signal(signal.SIGINT, before)
