"""The pipeline of engines that declare their input and compare a network's outputs: ReContrast."""

from __future__ import annotations

import time
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pyad_edge.backends import Backend
from pyad_edge.cosine_pipeline import decided
from pyad_edge.declared_pipeline import DeclaredPipeline
from pyad_edge.engine_manifest import CosineHead as HeadSettings
from pyad_edge.engine_manifest import Preprocessing
from pyad_edge.errors import SettingError
from pyad_edge.feeder import DeclaredInput
from pyad_edge.heads.cosine import CosineHead
from pyad_edge.heads.decide import PatchDecision
from pyad_edge.pipeline import Pipeline, Scores, unscorable
from pyad_edge.preprocessing import input_size

__all__ = ["DeclaredCosinePipeline"]

Frame = NDArray[Any]


class DeclaredCosinePipeline(DeclaredPipeline):
    """Scores frames of a declared format, one by one; thread-safe.

    Where the map is outside of the region of interest, or of the frame, it is 0. The picture's
    score is the maximum or the mean of the rest.

    Args:
        preprocessing, backend, sigma, declared, grid, own: as for :class:`DeclaredPipeline`.
        head: which outputs are compared.

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
                "[Runtime] engines of cosine distances take no tiled frames: their maps need the "
                "whole picture. Train with --size-policy resize or letterbox, or a memory bank."
            )
        super().__init__(
            preprocessing=preprocessing,
            backend=backend,
            head=CosineHead(head, size=input_size(preprocessing), sigma=sigma),
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
        """The verdict of one frame; the score is always known: there is nothing to spare."""
        return decided(self.score([frame]), limit=limit, review=review)

    def _score(self, frame: Frame) -> Scores:
        start = time.perf_counter()
        plan = self._feeder.plan(frame.shape)
        (tile,) = plan.tiles
        maps, maxima, means = self.buffers.take(
            ((1, *self.input_size), np.float32), ((1,), np.float32), ((1,), np.float32)
        )
        with self._workspaces.borrow(1) as workspace:
            self._feeder.write(self._feeder.picture(frame), plan, tile, workspace.session.input)
            written = time.perf_counter()
            workspace.run()
            ran = time.perf_counter()
            with unscorable("infer"):
                image = self.head.write(
                    workspace.session.outputs, maps=maps, maxima=maxima, means=means
                )
        if plan.gain is not None:
            shown = plan.gain > 0
            np.multiply(maps, shown, out=maps)
            maxima[0] = maps.max()
            means[0] = maps[0][shown].mean()
        timings = {
            "preprocess": (written - start) * 1e3,
            "backbone": (ran - written) * 1e3,
            "head": (time.perf_counter() - ran) * 1e3,
        }
        return Scores(image, maps, maxima, None, timings)
