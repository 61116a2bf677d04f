"""A backend whose network runs on the host and whose arrays lie on the device."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from pyad_edge.backends.onnxruntime import OnnxRuntimeBackend
from pyad_edge.ops.cuda import DeviceArray
from pyad_edge.ops.cuda.device import require_device


class HostNetwork(OnnxRuntimeBackend):
    """Features of ONNX Runtime, as the CPU's pipeline has; all else can be compared.

    A graph cannot hold it: `capture` gives back the work itself, enqueued anew for each frame.
    """

    device = "cuda"
    spoiled: float | None = None  # a feature's value

    def device_session(self, batch: int) -> HostNetworkSession:
        return HostNetworkSession(self, batch)


class HostNetworkSession:
    stream = 0

    def __init__(self, backend: HostNetwork, batch: int) -> None:
        self._backend = backend
        self._session = backend.session(batch)
        self.input = DeviceArray(self._session.input.shape, np.float32)
        self.outputs = tuple(DeviceArray(o.shape, np.float32) for o in self._session.outputs)

    def enqueue(self) -> None:
        module = require_device()
        module.copy_to_host(self._session.input, self.input.pointer, self.stream)
        self._session.run()
        for there, here in zip(self.outputs, self._session.outputs, strict=True):
            values: NDArray[np.float32] = np.array(here)
            if self._backend.spoiled is not None:
                values.flat[-1] = self._backend.spoiled
            module.copy_to_device(there.pointer, values, self.stream)

    def capture(self, work: Callable[[], None]) -> Callable[[], None]:
        work()
        return work
