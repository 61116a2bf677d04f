"""The pipeline of engines that compare a network's outputs with each other: ReContrast."""

from __future__ import annotations

import time
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pyad_edge.backends import Backend
from pyad_edge.engine_manifest import CosineHead as HeadSettings
from pyad_edge.engine_manifest import Preprocessing
from pyad_edge.heads.cosine import CosineHead
from pyad_edge.heads.decide import PatchDecision
from pyad_edge.pipeline import Pipeline, Scores, unscorable
from pyad_edge.preprocessing import input_size
from pyad_edge.result import Verdict
from pyad_edge.workspace import Workspace

__all__ = ["CosinePipeline", "decided"]

Frame = NDArray[np.uint8]


class CosinePipeline(Pipeline):
    """Scores frames by cosine distances. Thread-safe; allocates as :class:`Pipeline` does.

    The network may run on a device; its outputs are compared here, on the CPU.

    Args:
        preprocessing: how frames become the network's input.
        backend: runs the network.
        head: which outputs are compared.
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
            preprocessing=preprocessing,
            backend=backend,
            head=CosineHead(head, size=input_size(preprocessing), sigma=sigma),
            sigma=sigma,
        )

    def _finish(self, workspace: Workspace, timings: dict[str, float]) -> Scores:
        start = time.perf_counter()
        N = len(workspace.session.input)
        maps, maxima, means = self.buffers.take(
            ((N, *self.input_size), np.float32), ((N,), np.float32), ((N,), np.float32)
        )
        with unscorable("infer"):
            image = self.head.write(
                workspace.session.outputs, maps=maps, maxima=maxima, means=means
            )
        timings["head"] = (time.perf_counter() - start) * 1e3  # its map is its scores
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
        """The verdict of one frame; the score is always known: there is nothing to spare."""
        return decided(self.score([frame], color_order=color_order), limit=limit, review=review)


def decided(
    scores: Scores, *, limit: float, review: float | None
) -> tuple[PatchDecision, dict[str, float]]:
    """The decision that a frame's whole score gives, all its positions looked at.

    Args:
        scores: of one frame.
        limit: NG above it.
        review: REVIEW above it, up to ``limit``.
    """
    shown: NDArray[Any] = scores.maps if scores.patches is None else scores.patches.patch
    value, count = float(scores.image[0]), int(shown[0].size)
    return PatchDecision(Verdict.of(value, limit, review), count, count, value), scores.timings
