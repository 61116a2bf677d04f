"""The pipeline of engines that declare their input and whose network gives the score map: GRAD."""

from __future__ import annotations

import time
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pyad_edge.backends import Backend
from pyad_edge.declared_pipeline import DeclaredPipeline
from pyad_edge.engine_manifest import Preprocessing
from pyad_edge.engine_manifest import ScoreMapHead as HeadSettings
from pyad_edge.errors import SettingError
from pyad_edge.feeder import DeclaredInput
from pyad_edge.heads.decide import PatchDecision
from pyad_edge.heads.score_map import ScoreMapHead
from pyad_edge.pipeline import Pipeline, Scores, unscorable
from pyad_edge.score_map_pipeline import decision_of

__all__ = ["DeclaredScoreMapPipeline"]

Frame = NDArray[Any]


class DeclaredScoreMapPipeline(DeclaredPipeline):
    """Scores frames of a declared format, one by one; thread-safe.

    Patches outside of the region of interest, or of the frame, do not count; the map is 0 there.

    Args:
        preprocessing, backend, sigma, declared, grid, own: as for :class:`DeclaredPipeline`.
        head: what the network's map was made of.

    Raises:
        SettingError: if frames are to be cut into tiles.
    """

    def __init__(
        self,
        *,
        preprocessing: Preprocessing,
        backend: Backend,
        head: HeadSettings,
        sigma: float,
        declared: DeclaredInput,
        grid: tuple[int, int],
        own: Pipeline | None = None,
    ) -> None:
        if declared.policy == "tile":
            raise SettingError(
                "[Runtime] engines of score maps take no tiled frames: their network knows where "
                "in the whole picture a patch belongs. Train with --size-policy resize or "
                "letterbox, or a memory bank."
            )
        super().__init__(
            preprocessing=preprocessing,
            backend=backend,
            head=ScoreMapHead(head),
            sigma=sigma,
            declared=declared,
            grid=grid,
            own=own,
        )

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
        plan = self._feeder.plan(frame.shape)
        (tile,) = plan.tiles
        with self._workspaces.borrow(1) as workspace:
            self._feeder.write(self._feeder.picture(frame), plan, tile, workspace.session.input)
            return decision_of(
                self.head,
                workspace,
                limit=limit,
                review=review,
                start=start,
                written=time.perf_counter(),
                counts=plan.counts,
            )

    def _score(self, frame: Frame) -> Scores:
        start = time.perf_counter()
        plan = self._feeder.plan(frame.shape)
        (tile,) = plan.tiles
        image, maps, maxima = self.buffers.take(
            ((1,), np.float32), ((1, *self.input_size), np.float32), ((1,), np.float32)
        )
        with self._workspaces.borrow(1) as workspace:
            self._feeder.write(self._feeder.picture(frame), plan, tile, workspace.session.input)
            written = time.perf_counter()
            workspace.run()
            ran = time.perf_counter()
            with unscorable("infer"):
                patches = self.head.score(
                    workspace.session.outputs, image=image, counts=plan.counts
                )
            scored = time.perf_counter()
            self._map.write(patches, wide=workspace.wide, maps=maps, maxima=maxima)
        if plan.gain is not None:
            np.multiply(maps, plan.gain, out=maps)
            maxima[0] = maps.max()
        timings = {
            "preprocess": (written - start) * 1e3,
            "backbone": (ran - written) * 1e3,
            "head": (scored - ran) * 1e3,
            "map": (time.perf_counter() - scored) * 1e3,
        }
        return Scores(image, maps, maxima, None, timings)
