"""A frame whose network gives the score map itself, as one CUDA graph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pyad_edge.backends.device_session import DeviceSession
from pyad_edge.device.frame_graph import ColorOrder, FrameGraph
from pyad_edge.device.memory import ResultBlock
from pyad_edge.engine_manifest import Preprocessing
from pyad_edge.ops import cuda

__all__ = ["ScoreMapGraph"]


class ScoreMapGraph(FrameGraph):
    """Pre-processing, network, and the map where it is wanted; the patch scores come back too.

    Args:
        session, preprocessing, shapes, color_order: as for :class:`FrameGraph`.
        sigma: of the map's Gaussian, in pixels of the network's input.
        maps: whether a map is wanted.

    Raises:
        BackendError: if the device fails or has not enough memory.
    """

    def __init__(
        self,
        session: DeviceSession,
        preprocessing: Preprocessing,
        *,
        shapes: Sequence[tuple[int, ...]] | None,
        color_order: ColorOrder,
        sigma: float,
        maps: bool,
    ) -> None:
        super().__init__(session, preprocessing, shapes=shapes, color_order=color_order)
        self._sigma = sigma
        N = self._input.shape[0]
        layout: dict[str, Any] = {"scores": ((N, 1, *self.grid), np.float32)}
        if maps:
            layout["maxima"] = ((N,), np.float32)
            layout["maps"] = ((N, *self.size), np.float32)
        self.results = ResultBlock(layout)
        self._map_room = cuda.anomaly_map_workspace(N, size=self.size) if maps else None
        self._capture()

    def _enqueue_results(self) -> None:
        stream, parts = self._session.stream, self.results.device
        given, scores = self._features[0], parts["scores"]
        self._module.enqueue_copy(scores.pointer, given.pointer, scores.nbytes, stream)
        if self._map_room is not None:
            cuda.anomaly_map(
                scores.reshaped(scores.shape[0], *self.grid),
                size=self.size,
                sigma=self._sigma,
                out=(parts["maps"], parts["maxima"]),
                workspace=self._map_room,
                stream=stream,
            )
