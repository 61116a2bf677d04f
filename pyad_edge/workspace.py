"""The memory that one call of the pipeline works in: planned once, used by one call at a time."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from pyad_edge.backends import Backend
from pyad_edge.backends.base import Session
from pyad_edge.bfloat16 import holds_bfloat16, is_channels_last
from pyad_edge.errors import BackendError

__all__ = ["OutputShapes", "Workspace", "WorkspacePool"]

_FLOAT32 = np.dtype(np.float32)
_WAY_OUT = (
    "The frame counts as a fault. Open the engine again; if it stays so, use another backend."
)
_BATCH_SIZES = 4  # whose workspaces are kept; of more, the one used longest ago is forgotten


class Workspace:
    """A session of the network and what follows it, for batches of N pictures.

    Attributes:
        session: bound to `input` (N, 3, H, W) and `outputs` (N, C, h, w) of its own.
        grid: (h, w), patches of a picture: the positions of the network's first output.
        shapes: of the outputs as planned.
        wide: (N, h, W) float32, the map between its two passes.
    """

    def __init__(self, backend: Backend, batch: int) -> None:
        self.session: Session = backend.session(batch)
        self.shapes = tuple(output.shape for output in self.session.outputs)
        self._coarse = tuple(map(holds_bfloat16, self.session.outputs))
        _, _, h, w = self.shapes[0]
        self.grid = (h, w)
        self.wide: NDArray[np.float32] = np.empty((batch, h, self.session.input.shape[3]), "f4")

    def run(self) -> None:
        """Run the network from ``session.input`` into ``session.outputs``.

        Its outputs must be what was planned: pooling would make any number of channels into the
        bank's, and they would be scored.

        Raises:
            BackendError: if the network fails, or an output has another shape or type than planned.
            ResourceError: if there is not enough memory.
        """
        self.session.run()
        outputs = self.session.outputs
        if len(outputs) != len(self.shapes):
            raise BackendError(
                f"[infer] expected {len(self.shapes)} outputs of the network, got {len(outputs)}. "
                f"{_WAY_OUT}"
            )
        for output, shape, coarse in zip(outputs, self.shapes, self._coarse, strict=True):
            if coarse:
                planned = holds_bfloat16(output) and is_channels_last(output)
            else:
                planned = output.dtype == _FLOAT32 and output.flags.c_contiguous
            if output.shape != shape or not planned:
                kind = "bfloat16 as uint16, channels last" if coarse else "float32 and C-contiguous"
                raise BackendError(
                    f"[infer] expected an output of shape {shape}, {kind}, as when the network "
                    f"was planned, got {output.shape}, {output.dtype}. {_WAY_OUT}"
                )


class OutputShapes:
    """What a network gives for one picture, the same in every plan of it.

    Thread-safe: plans made at the same moment agree, or are refused.
    """

    def __init__(self) -> None:
        self._first: tuple[tuple[int, ...], ...] | None = None
        self._lock = threading.Lock()

    def check(self, batch: int, shapes: Sequence[tuple[int, ...]]) -> None:
        """Compare a plan's outputs with those of the first plan.

        Args:
            batch: N, pictures of the plan.
            shapes: (N, C, h, w) of each output.

        Raises:
            BackendError: if they are for another number of pictures, or differ from the first's.
        """
        each = tuple(shape[1:] for shape in shapes)
        with self._lock:
            first = self._first
            if first is None:
                self._first = first = each
        if each != first or any(shape[0] != batch for shape in shapes):
            raise BackendError(
                f"[infer] expected outputs of shapes {[(batch, *shape) for shape in first]}, as "
                f"when the engine was opened, got {list(shapes)}. {_WAY_OUT}"
            )


class WorkspacePool:
    """One workspace per call that runs at the same moment; a new one only where all are in use.

    Thread-safe.

    Args:
        backend: opens the sessions.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._shapes = OutputShapes()
        self._lock = threading.Lock()
        self._idle: dict[int, list[Workspace]] = {}  # by batch size, the last used one at the end

    @contextmanager
    def borrow(self, batch: int) -> Iterator[Workspace]:
        """A workspace for batches of that size, for the length of a ``with`` block.

        Raises:
            BackendError, ResourceError: if a new session is needed and cannot be planned.
            BackendError: also if its outputs are not those of the first one.
        """
        with self._lock:
            waiting = self._idle.get(batch)
            workspace = waiting.pop() if waiting else None
        if workspace is None:
            workspace = Workspace(self._backend, batch)
            self._shapes.check(batch, workspace.shapes)
        try:
            yield workspace
        finally:
            with self._lock:
                waiting = self._idle.pop(batch, [])
                waiting.append(workspace)
                self._idle[batch] = waiting
                if len(self._idle) > _BATCH_SIZES:
                    del self._idle[next(iter(self._idle))]
