"""One frame, or a batch, from pixels to results on the device, enqueued as one CUDA graph."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pyad_edge.backends.device_session import DeviceSession
from pyad_edge.device.memory import ResultBlock, pinned, whole
from pyad_edge.engine_manifest import Preprocessing
from pyad_edge.ops import cuda
from pyad_edge.ops.cuda.device import device_errors, require_device

__all__ = ["OP", "ColorOrder", "FrameGraph"]

OP = "device"
ColorOrder = Literal["rgb", "bgr"]
_WAY_OUT = "The frame counts as a fault. Look at nvidia-smi; open the engine again."


class FrameGraph(ABC):
    """Everything that is planned for frames of certain sizes; serves one call at a time.

    Frames in host memory go through pinned memory of ours and are part of the graph. Frames on the
    device are read where they lie: their pre-processing, whose addresses change, is enqueued before
    a graph of the rest. A subclass plans its results, then calls :meth:`_capture`.

    Args:
        session: the network, bound to N pictures.
        preprocessing: how frames become the network's input.
        shapes: of the N host frames; None for frames on the device, of any size.
        color_order: of the frames.

    Attributes:
        grid, size: (h, w) patches and (H, W) of the map of one picture.
        results: what comes back.

    Raises:
        BackendError: if the device fails or has not enough memory.
    """

    results: ResultBlock

    def __init__(
        self,
        session: DeviceSession,
        preprocessing: Preprocessing,
        *,
        shapes: Sequence[tuple[int, ...]] | None,
        color_order: ColorOrder,
    ) -> None:
        self._module = require_device()
        self._session = session
        self._preprocessing, self._color_order = preprocessing, color_order
        self._input = whole(OP, "input", session.input, np.float32, 4)
        self._features = [whole(OP, "output", o, np.float32, 4) for o in session.outputs]
        h, w = self._features[0].shape[2:]
        self.grid, self.size = (h, w), (self._input.shape[2], self._input.shape[3])
        self._frames = None if shapes is None else [_HostFrame(shape) for shape in shapes]

    @abstractmethod
    def _enqueue_results(self) -> None:
        """What follows the network, up to the parts of ``results`` on the device."""

    def _capture(self) -> None:
        with device_errors("planning a frame", _WAY_OUT):
            self._launch = self._session.capture(self._enqueue)
            self._module.synchronize(self._session.stream)

    def upload(self, frames: Sequence[Any]) -> None:
        """Bring the frames to where the graph reads them.

        Raises:
            BackendError: if the device fails.
            TypeError, ValueError: if a frame on the device cannot be read.
        """
        if self._frames is not None:
            for held, frame in zip(self._frames, frames, strict=True):
                held.host[:] = frame
            return
        for n, frame in enumerate(frames):
            self._preprocess(frame, n)

    def run(self) -> None:
        """Launch, and wait until ``results.host`` holds the results.

        Raises:
            BackendError: if the device fails.
        """
        with device_errors("a frame", _WAY_OUT):
            self._launch()
            self._module.synchronize(self._session.stream)

    def features(self) -> list[NDArray[np.float32]]:
        """The network's outputs of the last run, (N, C, h, w) each, copied to the host."""
        found = [np.empty(part.shape, np.float32) for part in self._features]
        with device_errors("copying features", _WAY_OUT):
            for array, part in zip(found, self._features, strict=True):
                self._module.copy_to_host(array, part.pointer, self._session.stream)
        return found

    def _enqueue(self) -> None:
        """All work of a frame, on the session's stream; allocates nothing once it has run."""
        stream = self._session.stream
        for n, frame in enumerate(self._frames or ()):
            size = frame.host.nbytes
            self._module.enqueue_copy(frame.device.pointer, frame.address, size, stream)
            self._preprocess(frame.device, n)
        self._session.enqueue()
        self._enqueue_results()
        self.results.enqueue_copy(stream)

    def _preprocess(self, frame: Any, n: int) -> None:
        settings = self._preprocessing
        cuda.preprocess(
            frame,
            resize=settings.resize,
            crop=settings.crop,
            mean=settings.mean,
            std=settings.std,
            color_order=self._color_order,
            out=self._input[n : n + 1],
            stream=self._session.stream,
        )


class _HostFrame:
    """Pinned memory that a frame is copied into, and its place on the device."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        size = int(np.prod(shape))
        held = pinned(size)
        held.fill(0)
        self.host = held.reshape(shape)
        self.address = int(held.ctypes.data)
        self.device = cuda.DeviceArray(shape, np.uint8)
