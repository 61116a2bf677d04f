"""One frame, or a batch, from pixels to scores on the device, enqueued as one CUDA graph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pyad_edge.backends.device_session import DeviceSession
from pyad_edge.device.bank import DeviceBank
from pyad_edge.device.memory import DevicePart, ResultBlock, pinned, whole
from pyad_edge.engine_manifest import MemoryBankHead as HeadSettings
from pyad_edge.engine_manifest import Preprocessing
from pyad_edge.ops import cuda
from pyad_edge.ops.cuda.device import device_errors, require_device

__all__ = ["FrameGraph"]

OP = "device"
ColorOrder = Literal["rgb", "bgr"]
_WAY_OUT = "The frame counts as a fault. Look at nvidia-smi; open the engine again."


class FrameGraph:
    """Everything that is planned for frames of certain sizes; serves one call at a time.

    Frames in host memory go through pinned memory of ours and are part of the graph. Frames on the
    device are read where they lie: their pre-processing, whose addresses change, is enqueued before
    a graph of the rest.

    Args:
        session: the network, bound to N pictures.
        bank: on the device.
        head: how features are scored.
        preprocessing: how frames become the network's input.
        shapes: of the N host frames; None for frames on the device, of any size.
        color_order: of the frames.
        sigma: of the map's Gaussian, in pixels of the network's input.
        maps: whether a map is wanted.

    Raises:
        BackendError: if the device fails or has not enough memory.
    """

    def __init__(
        self,
        session: DeviceSession,
        bank: DeviceBank,
        head: HeadSettings,
        preprocessing: Preprocessing,
        *,
        shapes: Sequence[tuple[int, ...]] | None,
        color_order: ColorOrder,
        sigma: float,
        maps: bool,
    ) -> None:
        self._module = require_device()
        self._session, self._bank, self._head = session, bank, head
        self._preprocessing, self._color_order, self._sigma = preprocessing, color_order, sigma
        self._maps = maps
        self._input = whole(OP, "input", session.input, np.float32, 4)
        self._features = [whole(OP, "output", o, np.float32, 4) for o in session.outputs]
        N, _, H, W = self._input.shape
        h, w = self._features[0].shape[2:]
        P, D = h * w, bank.memory.dim
        self.grid, self.size = (h, w), (H, W)
        held = cuda.DeviceArray((N, h, w, D), np.float32)
        self._patches = DevicePart(held, held.pointer, (N, h, w, D), np.float32)
        scores: dict[str, Any] = {
            "around": ((N, bank.k), np.float32),
            "winners": ((N,), np.int64),
            "squared": ((N, P), np.float32),
            "rows": ((N, P), np.int64),
            "distances": ((N, P), np.float32),
        }
        drawn: dict[str, Any] = {"maxima": ((N,), np.float32), "maps": ((N, H, W), np.float32)}
        self.results = ResultBlock(scores | (drawn if maps else {}))
        self._room = bank.memory.workspace(N * P)
        self._map_room = cuda.anomaly_map_workspace(N, size=(H, W)) if maps else None
        self._frames = None if shapes is None else [_HostFrame(shape) for shape in shapes]
        with device_errors("planning a frame", _WAY_OUT):
            self._launch = session.capture(self._enqueue)
            self._module.synchronize(session.stream)

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
        stream, parts = self._session.stream, self.results.device
        for n, frame in enumerate(self._frames or ()):
            size = frame.host.nbytes
            self._module.enqueue_copy(frame.device.pointer, frame.address, size, stream)
            self._preprocess(frame.device, n)
        self._session.enqueue()
        aggregation = self._head.aggregation
        cuda.patch_aggregation(
            self._features,
            variant=aggregation.variant,
            pre_dim=aggregation.pre_dim,
            target_dim=aggregation.target_dim,
            out=self._patches,
            stream=stream,
        )
        N, h, w, D = self._patches.shape
        queries = self._patches.reshaped(N * h * w, D)
        squared, rows = parts["squared"], parts["rows"]
        self._bank.memory.search(
            queries,
            out=(squared.reshaped(N * h * w, 1), rows.reshaped(N * h * w, 1)),
            workspace=self._room,
            stream=stream,
        )
        cuda.picture_scores(
            squared,
            rows,
            out=(parts["distances"], parts["winners"], parts["around"]),
            patches=queries,
            bank=self._bank.rows,
            neighborhoods=self._bank.neighborhoods,
            stream=stream,
        )
        if self._maps:
            scored = squared if self._head.scoring == "maximum" else parts["distances"]
            cuda.anomaly_map(
                scored.reshaped(N, h, w),
                size=self.size,
                sigma=self._sigma,
                out=(parts["maps"], parts["maxima"]),
                workspace=self._map_room,
                stream=stream,
            )
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
