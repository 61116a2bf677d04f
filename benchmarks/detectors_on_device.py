"""Several fully convolutional detectors of one frame on a device, as GRAD has them, in one graph.

GRAD (Dai et al. 2024): each detector sees the frame at its own size and gives a map of scores; the
maps are brought to one size and smoothed. The picture's score is the sum of the detectors' largest
scores. The method itself is not part of this package yet: this is what one would be timed with.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyad_edge.device.memory import ResultBlock, pinned, whole
from pyad_edge.ops import anomaly_map, cuda
from pyad_edge.ops.cuda.device import require_device


class Detectors:
    """Detectors that share a frame; the first one's stream carries all work.

    Args:
        backends: with device sessions, each opened with its own input size, output (N, 1, h, w).
        frame_size: (H, W) of frames, and of the map.
        mean, std: of R, G, B.
        sigma: of the maps' Gaussian, in pixels.
    """

    def __init__(
        self,
        backends: Sequence[Any],
        *,
        frame_size: tuple[int, int],
        mean: tuple[float, float, float],
        std: tuple[float, float, float],
        sigma: float,
    ) -> None:
        H, W = self._size = frame_size
        self._sigma, self._norm = sigma, {"mean": mean, "std": std}
        self._module = require_device()
        self._sessions = [backend.device_session(1) for backend in backends]
        self._held = pinned(H * W * 3)
        self._held.fill(0)
        self._host = self._held.reshape(H, W, 3)
        self._frame = cuda.DeviceArray((H, W, 3), np.uint8)
        layout: dict[str, Any] = {}
        for n in range(len(backends)):
            layout |= {f"maxima{n}": ((1,), np.float32), f"maps{n}": ((1, H, W), np.float32)}
        self._results = ResultBlock(layout)
        self._rooms = [cuda.anomaly_map_workspace(1, size=frame_size) for _ in backends]
        self._inputs = [whole("grad", "input", s.input, np.float32, 4) for s in self._sessions]
        self._scores = [whole("grad", "out", s.outputs[0], np.float32, 4) for s in self._sessions]
        self._stream = self._sessions[0].stream
        self._launch = self._sessions[0].capture(self._enqueue)

    def score(self, frame: NDArray[np.uint8]) -> tuple[float, NDArray[np.float32]]:
        """A frame's score and its map (H, W)."""
        self._host[:] = frame
        self._launch()
        self._module.synchronize(self._stream)
        host = self._results.host
        count = len(self._sessions)
        total = sum(float(host[f"maxima{n}"][0]) for n in range(count))
        drawn: NDArray[np.float32] = sum(host[f"maps{n}"][0] for n in range(count))  # type: ignore[assignment]
        return total, drawn

    def require_parity(self, frame: NDArray[np.uint8]) -> None:
        """Refuse maps that are not the CPU's, given the device's scores.

        Raises:
            AssertionError: if a bit differs.
        """
        _, found = self.score(frame)
        maps = []
        for part in self._scores:
            scores = np.empty(part.shape, np.float32)
            self._module.copy_to_host(scores, part.pointer, self._stream)
            maps.append(anomaly_map(scores[:, 0], size=self._size, sigma=self._sigma)[0][0])
        expected = sum(maps)
        if found.tobytes() != np.asarray(expected).tobytes():
            raise AssertionError("a detector's map differs from the CPU's: not timed")

    def _enqueue(self) -> None:
        stream, H, W = self._stream, *self._size
        address = int(self._held.ctypes.data)
        self._module.enqueue_copy(self._frame.pointer, address, H * W * 3, stream)
        for n, session in enumerate(self._sessions):
            size = self._inputs[n].shape[2:]
            cuda.preprocess(
                self._frame, resize=size, out=self._inputs[n], stream=stream, **self._norm
            )
            session.enqueue()  # torch's: on the stream that is being captured
            _, _, h, w = self._scores[n].shape
            parts = self._results.device
            cuda.anomaly_map(
                self._scores[n].reshaped(1, h, w),
                size=self._size,
                sigma=self._sigma,
                out=(parts[f"maps{n}"], parts[f"maxima{n}"]),
                workspace=self._rooms[n],
                stream=stream,
            )
        self._results.enqueue_copy(stream)
