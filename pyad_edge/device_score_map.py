"""Frame to scores on a CUDA device where the network gives the score map itself: GRAD."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from pyad_edge.backends import Backend
from pyad_edge.backends.device_session import DeviceSession
from pyad_edge.device.frame_graph import FrameGraph
from pyad_edge.device.score_map_graph import ScoreMapGraph
from pyad_edge.device_pipeline import DevicePipeline
from pyad_edge.engine_manifest import Preprocessing
from pyad_edge.engine_manifest import ScoreMapHead as HeadSettings
from pyad_edge.heads.decide import PatchDecision
from pyad_edge.heads.score_map import ScoreMapHead
from pyad_edge.pipeline import Scores, unscorable
from pyad_edge.result import Verdict

__all__ = ["DeviceScoreMapPipeline"]


class DeviceScoreMapPipeline(DevicePipeline):
    """Scores frames on a CUDA device by the network's own map. Thread-safe.

    Given the same map, every result has the bits of the CPU's pipeline.

    Args:
        preprocessing: how frames become the network's input.
        backend: with ``device_session``.
        head: what the network's map was made of.
        sigma: of the map's Gaussian, in pixels of the network's input.

    Raises:
        SettingError, BackendError: as :class:`DevicePipeline`.
    """

    def __init__(
        self,
        *,
        preprocessing: Preprocessing,
        backend: Backend,
        head: HeadSettings,
        sigma: float,
    ) -> None:
        super().__init__(
            preprocessing=preprocessing, backend=backend, head=ScoreMapHead(head), sigma=sigma
        )

    def decide(
        self,
        frame: Any,
        *,
        limit: float,
        review: float | None = None,
        score: bool = False,
        color_order: Literal["rgb", "bgr"] | None = None,
    ) -> tuple[PatchDecision, dict[str, float]]:
        """The verdict of one frame, without its map; the score is always known."""
        scores = self._scored([frame], color_order, maps=False)
        value, count = float(scores.image[0]), self._patches
        return PatchDecision(Verdict.of(value, limit, review), count, count, value), scores.timings

    def _prepare(self) -> None:
        self._patches = 0  # of a picture; known once a graph is planned

    def _plan(self, session: DeviceSession, shapes: Any, order: Any, *, maps: bool) -> FrameGraph:
        graph = ScoreMapGraph(
            session,
            self.preprocessing,
            shapes=shapes,
            color_order=order,
            sigma=self.sigma,
            maps=maps,
        )
        self._patches = graph.grid[0] * graph.grid[1]
        return graph

    def _results(self, graph: FrameGraph, N: int, maps: bool) -> Scores:
        host = graph.results.host
        image, drawn, maxima = self.buffers.take(
            ((N,), np.float32),
            ((N, *graph.size) if maps else (0,), np.float32),
            ((N,) if maps else (0,), np.float32),
        )
        with unscorable("infer"):
            self.head.score([host["scores"]], image=image)
        if maps:
            drawn[:], maxima[:] = host["maps"], host["maxima"]
        return Scores(image, drawn, maxima, None, {})
