"""Tells the user's function of changes of state, in a thread of its own."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable

from pyad_edge.streaming.link import StateChange

__all__ = ["Teller"]

_log = logging.getLogger("pyad_edge.streaming")


class Teller:
    """Calls the user's function for changes of state, where it can neither block nor harm."""

    def __init__(self, on_state: Callable[[StateChange], None] | None) -> None:
        self._on_state = on_state
        self._queue: queue.SimpleQueue[StateChange | None] = queue.SimpleQueue()

    def __call__(self, change: StateChange) -> None:
        """Hand a change over; never waits."""
        if self._on_state is not None:
            self._queue.put(change)

    def start(self) -> None:
        """Begin to call."""
        if self._on_state is not None:
            threading.Thread(target=self._run, name="pyad-states", daemon=True).start()

    def stop(self) -> None:
        """End after what was handed over."""
        self._queue.put(None)

    def _run(self) -> None:
        while (change := self._queue.get()) is not None:
            try:
                if self._on_state is not None:
                    self._on_state(change)
            except Exception:
                _log.exception("on_state failed")
