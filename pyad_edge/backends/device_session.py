"""What a backend on a CUDA device offers beside `Session`: arrays that never leave the device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

__all__ = ["DeviceSession"]


class DeviceSession(Protocol):
    """One thread's binding to a network on a CUDA device: memory planned once.

    Arrays have ``__cuda_array_interface__``, as ``pyad_edge.ops.cuda`` takes them.
    """

    @property
    def stream(self) -> int:
        """The cudaStream_t of all its work; whoever fills the input or reads outputs uses it."""
        ...

    @property
    def input(self) -> Any:
        """(N, 3, H, W) float32 device array, C-contiguous."""
        ...

    @property
    def outputs(self) -> tuple[Any, ...]:
        """One (N, C, h, w) float32 device array, C-contiguous, per output name."""
        ...

    def enqueue(self) -> None:
        """Enqueues the network on the stream, from `input` into `outputs`; waits for nothing."""
        ...

    def capture(self, work: Callable[[], None]) -> Callable[[], None]:
        """Makes one CUDA graph of what `work` enqueues on the stream.

        Args:
            work: enqueues on the stream, `enqueue` included. It runs several times before the
                capture, so that what is made once is made then.

        Returns:
            Launches the graph on the stream; waits for nothing.
        """
        ...
