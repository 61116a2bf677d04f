"""What every inference backend offers: run the network, say what runs where, nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

__all__ = ["Backend", "Float32"]

Float32 = NDArray[np.float32]


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
        """What runs where: at least `name`, `version`, `provider` and `threads`."""
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
