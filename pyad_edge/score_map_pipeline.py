"""The pipeline of engines whose network gives the score map itself: GRAD."""

from __future__ import annotations

import time
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pyad_edge.backends import Backend
from pyad_edge.engine_manifest import Preprocessing
from pyad_edge.engine_manifest import ScoreMapHead as HeadSettings
from pyad_edge.heads.decide import PatchDecision
from pyad_edge.heads.score_map import ScoreMapHead
from pyad_edge.pipeline import Pipeline, Scores, unscorable
from pyad_edge.result import Verdict
from pyad_edge.workspace import Workspace

__all__ = ["ScoreMapPipeline", "decision_of"]

Frame = NDArray[np.uint8]


class ScoreMapPipeline(Pipeline):
    """Scores frames by the network's own map. Thread-safe; allocates as :class:`Pipeline` does.

    Args:
        preprocessing: how frames become the network's input.
        backend: runs the network.
        head: what its map was made of.
        sigma: of the map's Gaussian, in pixels of the network's input.
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

    def _finish(self, workspace: Workspace, timings: dict[str, float]) -> Scores:
        start = time.perf_counter()
        N = len(workspace.session.input)
        image, maps, maxima = self.buffers.take(
            ((N,), np.float32), ((N, *self.input_size), np.float32), ((N,), np.float32)
        )
        with unscorable("infer"):
            patches = self.head.score(workspace.session.outputs, image=image)
        scored = time.perf_counter()
        self._map.write(patches, wide=workspace.wide, maps=maps, maxima=maxima)
        timings["head"] = (scored - start) * 1e3
        timings["map"] = (time.perf_counter() - scored) * 1e3
        return Scores(image, maps, maxima, None, timings)

    def decide(
        self,
        frame: Frame,
        *,
        limit: float,
        review: float | None = None,
        score: bool = False,
        color_order: Literal["rgb", "bgr"] | None = None,
    ) -> tuple[PatchDecision, dict[str, float]]:
        """The verdict of one frame, without its map; the score is always known."""
        self.check(frame)
        start = time.perf_counter()
        with self._workspaces.borrow(1) as workspace:
            self._preprocess.run(
                frame,
                color_order=color_order or self.preprocessing.color_order,
                out=workspace.session.input,
            )
            written = time.perf_counter()
            return decision_of(
                self.head, workspace, limit=limit, review=review, start=start, written=written
            )


def decision_of(
    head: ScoreMapHead,
    workspace: Workspace,
    *,
    limit: float,
    review: float | None,
    start: float,
    written: float,
    counts: NDArray[np.bool_] | None = None,
) -> tuple[PatchDecision, dict[str, float]]:
    """Run the network and decide by its map's largest value alone.

    Args:
        head: see there.
        workspace: its session's input is written.
        limit, review: NG above the first; REVIEW above the second, up to it.
        start, written: ``time.perf_counter()`` when the frame came and its input was written.
        counts: (h, w) bool, patches that count; None: all.

    Raises:
        BackendError: if the network fails or its map cannot be scored.
    """
    workspace.run()
    ran = time.perf_counter()
    image = np.empty(1, np.float32)
    with unscorable("decide"):
        patches = head.score(workspace.session.outputs, image=image, counts=counts)
    value = float(image[0])
    count = int(patches.size if counts is None else np.count_nonzero(counts))
    timings = {
        "preprocess": (written - start) * 1e3,
        "backbone": (ran - written) * 1e3,
        "head": (time.perf_counter() - ran) * 1e3,
    }
    return PatchDecision(Verdict.of(value, limit, review), count, count, value), timings
