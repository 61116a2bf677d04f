"""The memory that one call of the pipeline works in: planned once, used by one call at a time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from pyad_edge.backends import Backend
from pyad_edge.backends.base import Session

__all__ = ["Workspace", "WorkspacePool"]

_BATCH_SIZES = 4  # whose workspaces are kept; of more, the one used longest ago is forgotten


class Workspace:
    """A session of the network and what follows it, for batches of N pictures.

    Attributes:
        session: bound to `input` (N, 3, H, W) and `outputs` (N, C, h, w) of its own.
        grid: (h, w), patches of a picture: the positions of the network's first output.
        wide: (N, h, W) float32, the map between its two passes.
    """

    def __init__(self, backend: Backend, batch: int) -> None:
        self.session: Session = backend.session(batch)
        _, _, h, w = self.session.outputs[0].shape
        self.grid = (h, w)
        self.wide: NDArray[np.float32] = np.empty((batch, h, self.session.input.shape[3]), "f4")


class WorkspacePool:
    """One workspace per call that runs at the same moment; a new one only where all are in use.

    Thread-safe.

    Args:
        backend: opens the sessions.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._lock = threading.Lock()
        self._idle: dict[int, list[Workspace]] = {}  # by batch size, the last used one at the end

    @contextmanager
    def borrow(self, batch: int) -> Iterator[Workspace]:
        """A workspace for batches of that size, for the length of a ``with`` block.

        Raises:
            BackendError, ResourceError: if a new session is needed and cannot be planned.
        """
        with self._lock:
            waiting = self._idle.get(batch)
            workspace = waiting.pop() if waiting else None
        if workspace is None:
            workspace = Workspace(self._backend, batch)
        try:
            yield workspace
        finally:
            with self._lock:
                waiting = self._idle.pop(batch, [])
                waiting.append(workspace)
                self._idle[batch] = waiting
                if len(self._idle) > _BATCH_SIZES:
                    del self._idle[next(iter(self._idle))]
