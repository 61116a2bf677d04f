"""Running plans of TensorRT and TensorRT for RTX on a device, on a stream of our own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from pyad_edge.backends.base import Float32
from pyad_edge.device.memory import pinned
from pyad_edge.errors import BackendError
from pyad_edge.ops.cuda.arrays import DeviceArray
from pyad_edge.ops.cuda.device import device_errors, require_device

__all__ = ["HostSession", "PlanSession"]

WARM_UP = 2  # runs before a capture
_WAY_OUT = "Look at nvidia-smi; open the engine again."


class PlanSession:
    """A `DeviceSession` of a plan: an execution context with arrays of its own.

    Args:
        engine: deserialized plan.
        op: name of the backend, for errors.
        source: name of the input.
        outputs: names wanted, in order.
        shape: (N, 3, H, W) that the plan was built for.

    Raises:
        BackendError: if the device fails or has not enough memory.
    """

    def __init__(
        self, engine: Any, *, op: str, source: str, outputs: tuple[str, ...], shape: tuple[int, ...]
    ) -> None:
        self._module, self._op, self._shape = require_device(), op, shape
        self._context = engine.create_execution_context()
        if self._context is None or not self._context.set_input_shape(source, shape):
            raise BackendError(
                f"[{op}] the device cannot run a plan for a batch of shape {shape}. Is another "
                "program holding its memory? Look at nvidia-smi."
            )
        self.input = DeviceArray(shape, np.float32)
        self.outputs = tuple(
            DeviceArray(tuple(self._context.get_tensor_shape(name)), np.float32) for name in outputs
        )
        for name, array in zip((source, *outputs), (self.input, *self.outputs), strict=True):
            self._context.set_tensor_address(name, array.pointer)
        with device_errors("making a stream", _WAY_OUT):
            self.stream = int(self._module.make_stream())

    def __del__(self) -> None:
        """Give the stream back, once what runs on it is over."""
        if getattr(self, "stream", 0):
            self._module.synchronize(self.stream)
            self._module.release_stream(self.stream)

    def enqueue(self) -> None:
        """Enqueue the network; see `DeviceSession`."""
        if not self._context.execute_async_v3(self.stream):
            raise BackendError(
                f"[{self._op}] the network failed on a batch of shape {self._shape}. {_WAY_OUT}"
            )

    def capture(self, work: Callable[[], None]) -> Callable[[], None]:
        """Make one CUDA graph of some work; see `DeviceSession`."""
        with device_errors("a frame", _WAY_OUT):
            for _ in range(WARM_UP):
                work()
            self._module.synchronize(self.stream)
            self._module.begin_capture(self.stream)
            try:
                work()
            except BaseException:
                self._module.Graph(self.stream, discard=True)
                raise
            graph = self._module.Graph(self.stream)

        def launch() -> None:
            graph.launch(self.stream)

        return launch


class HostSession:
    """A `Session`: host arrays in pinned memory around one on the device, all in one graph."""

    def __init__(self, session: PlanSession) -> None:
        self._session, module = session, require_device()
        there = (session.input, *session.outputs)
        held = [pinned(array.nbytes) for array in there]
        here = [
            raw.view(np.float32).reshape(array.shape)
            for raw, array in zip(held, there, strict=True)
        ]
        self.input: Float32 = here[0]
        self.outputs: tuple[Float32, ...] = tuple(here[1:])
        self.input.fill(0.0)
        addresses = [int(raw.ctypes.data) for raw in held]

        def work() -> None:
            stream, up = session.stream, session.input
            module.enqueue_copy(up.pointer, addresses[0], up.nbytes, stream)
            session.enqueue()
            for address, array in zip(addresses[1:], session.outputs, strict=True):
                module.enqueue_copy(address, array.pointer, array.nbytes, stream)

        self._launch = session.capture(work)

    def run(self) -> None:
        """Run the network from `input` into `outputs`; see `Session`."""
        with device_errors("a batch", _WAY_OUT):
            self._launch()
            require_device().synchronize(self._session.stream)
