"""Sources that can wait: files and Python iterables, read ahead in a thread."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from pyad_edge.streaming.frames import Frame, Grab
from pyad_edge.streaming.lane import Lane
from pyad_edge.streaming.link import State, StateChange
from pyad_edge.streaming.record import Fault, FaultCode

__all__ = ["Reader"]

_log = logging.getLogger("pyad_edge.streaming")
_FAILURES = 10  # exceptions of an iterable in a row, after which it is given up


class Reader:
    """Reads an iterable of arrays or ``Frame`` in a thread of its own.

    Args:
        lane: where frames go.
        items: read once.
        copy: whether arrays are copied, since their owner may write into them again.
        close: releases the file.
        changed: hears of every change of state.
    """

    def __init__(
        self,
        lane: Lane,
        items: Iterable[Any],
        *,
        copy: bool,
        close: Callable[[], object],
        changed: Callable[[StateChange], None],
    ) -> None:
        self.lane = lane
        self.state = State.CONNECTING
        self.reason: str | None = None
        self.reconnects = 0
        self.abandoned = 0
        self._items = items
        self._copy = copy
        self._close = close
        self._lock = threading.Lock()  # of the thread's start
        self._changed = changed
        self._stopped = False
        self._thread: threading.Thread | None = None

    def poll(self, now: float) -> None:
        """Start at the first call; see ``Camera.poll``."""
        with self._lock:
            if self._thread is None and not self._stopped:
                name = f"pyad-{self.lane.camera}"
                self._thread = threading.Thread(target=self._run, name=name, daemon=True)
                self._thread.start()
        self.lane.tick()

    def stop(self) -> None:
        """Take no more frames; the thread ends when the iterable lets it."""
        with self._lock:
            stopped, self._stopped = self._stopped, True
            if self._thread is None and not stopped:  # it would have closed the file
                self._tell(State.ENDED, None)
                self._release()

    def join(self, until: float) -> None:
        """Wait for the thread, at most until then (``time.monotonic``)."""
        if self._thread not in (None, threading.current_thread()):
            self._thread.join(max(0.0, until - time.monotonic()))

    def _run(self) -> None:
        lost = None
        try:
            lost = self._read()
        except BaseException as error:  # not of the iterable: it could not even be iterated
            lost = f"[stream] {self.lane.camera} cannot be read: {type(error).__name__}: {error}"
            self.lane.fault(Fault(FaultCode.SOURCE, lost))
        finally:
            self._tell(State.ENDED if lost is None else State.LOST, lost)
            self.lane.end()
            self._release()

    def _release(self) -> None:
        try:
            self._close()
        except Exception as error:
            _log.warning("%s: closing failed: %r", self.lane.camera, error)

    def _read(self) -> str | None:
        """Read to the end; the reason if it was given up before."""
        items: Iterator[Any] = iter(self._items)
        failures = 0
        while not self._stopped:
            try:
                item = next(items)
            except StopIteration:
                return None
            except Exception as error:
                failures += 1
                reason = (
                    f"[stream] {self.lane.camera}: the iterable raised {type(error).__name__}: "
                    f"{str(error) or 'no reason given'}"
                )
                if not self.lane.fault(Fault(FaultCode.SOURCE, reason)):
                    return None
                if failures == _FAILURES:
                    return f"{reason}, {failures} times in a row."
                continue
            failures = 0
            self._tell(State.STREAMING, None)
            if not self.lane.accept(_grab(item, copy=self._copy)):
                return None
        return None

    def _tell(self, state: State, reason: str | None) -> None:
        if state is not self.state:
            previous, self.state, self.reason = self.state, state, reason
            self._changed(StateChange(self.lane.camera, state, previous, time.time(), reason))


def _grab(item: Any, *, copy: bool) -> Grab:
    if isinstance(item, Frame):
        item = Grab(
            item.image, item.frame_id, item.timestamp, item.monotonic, item.error, item.name
        )
    if isinstance(item, Grab):
        image = item.image
        return replace(item, image=image.copy()) if copy and isinstance(image, np.ndarray) else item
    if isinstance(item, np.ndarray):
        return Grab(item.copy() if copy else item)
    if hasattr(item, "__cuda_array_interface__") or hasattr(item, "__dlpack_device__"):
        return Grab(item)  # on a device; the runtime knows what to do
    return Grab(
        None,
        error=f"[stream] expected arrays or Frames of the iterable, got {type(item).__name__}.",
    )
