"""What every inference backend offers: run the network, say what runs where, nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

__all__ = ["Backend", "Float32", "Session"]

Float32 = NDArray[np.float32]


class Session(Protocol):
    """One thread's binding to a loaded network: memory planned once, nothing allocated per run.

    Not thread-safe: a session serves one call at a time. Sessions of one backend run side by side.
    """

    @property
    def input(self) -> Float32:
        """(N, 3, H, W) float32, C-contiguous: write the batch here, then call `run`."""
        ...

    @property
    def outputs(self) -> tuple[NDArray[Any], ...]:
        """One (N, C, h, w) float32, C-contiguous, per output name; valid until the next `run`.

        Of a backend that was opened with coarse outputs, perhaps bf16 instead, as uint16 with
        channels last in memory, see `pyad_edge.bfloat16`.

        The arrays are the same objects for the session's whole life.
        """
        ...

    def run(self) -> None:
        """Runs the network from `input` into `outputs`.

        Raises:
            BackendError: if the network fails; `outputs` then hold nothing of use.
            ResourceError: if there is not enough memory.
        """
        ...


@runtime_checkable
class Backend(Protocol):
    """A loaded network. Every member may be used from several threads at once."""

    @property
    def output_names(self) -> tuple[str, ...]:
        """Names of the outputs that `run` gives, in its order."""
        ...

    @property
    def metadata(self) -> Mapping[str, Any]:
        """What the model file says about its backbone; empty where it says nothing."""
        ...

    @property
    def info(self) -> Mapping[str, Any]:
        """What runs where: at least `name`, `version`, `provider`, `precision` and `threads`."""
        ...

    def run(self, batch: Float32) -> list[Float32]:
        """Runs the network.

        Args:
            batch: (N, 3, H, W) float32, already pre-processed.

        Returns:
            One C-contiguous float32 array (N, C, h, w) per name in `output_names`.

        Raises:
            BackendError: if the batch does not fit the network or the network fails.
        """
        ...

    def session(self, batch: int) -> Session:
        """Plans a binding for batches of `batch` pictures of the size the backend was opened with.

        Args:
            batch: N, at least 1.

        Raises:
            BackendError: if the network does not take such a batch.
            ResourceError: if there is not enough memory for it.
        """
        ...
