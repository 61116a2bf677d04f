"""Several networks, each with its bank, whose scores become one: ensembles."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pyad_edge.cosine_pipeline import decided
from pyad_edge.engine_manifest import Fusion
from pyad_edge.errors import SettingError
from pyad_edge.heads.decide import PatchDecision
from pyad_edge.pipeline import Frame, Pipeline, Scores

__all__ = ["EnsemblePipeline", "fuse"]

Array = NDArray[np.float32]


class EnsemblePipeline(Pipeline):
    """Scores frames with every member, then takes the mean of the modified z-scores. Thread-safe.

    Members run one after the other, each on all threads. The fused map lies in the memory of the
    first member's. Its largest value may be below 0: scores of normal pictures lie around 0.

    Source: ReConPatch (Hyun et al. 2024), eq. 11.

    Args:
        members: pipelines of the same input, at least two.
        fusion: one entry per member.

    Raises:
        SettingError: if frames are cut into tiles.
    """

    def __init__(self, members: Sequence[Pipeline], fusion: Fusion) -> None:
        first = members[0]
        if first.input_info["size_policy"] == "tile":
            raise SettingError(
                "[Runtime] ensembles take no tiled frames: their members cut them at different "
                "patches. Use the size policy resize or letterbox, or an engine of one network."
            )
        # Everything that does not score is the first member's.
        self.members = tuple(members)
        self.fusion = fusion
        self.preprocessing = first.preprocessing
        self.backend = first.backend
        self.head = first.head
        self.sigma = first.sigma
        self.input_size = first.input_size
        self.buffers = first.buffers
        self.one_by_one = first.one_by_one
        self.outside = _fused([np.float32(0.0)] * len(members), fusion)
        self._own: Pipeline = self
        if first.own is not first:
            self._own = EnsemblePipeline([member.own for member in members], fusion)

    @property
    def own(self) -> Pipeline:
        """The pipeline that the engine's golden frames were scored with."""
        return self._own

    @property
    def kernels(self) -> dict[str, Any]:
        """Where everything but the networks runs, as plain data."""
        return self.members[0].kernels | {"members": len(self.members)}

    @property
    def input_info(self) -> dict[str, Any]:
        """What frames it takes, as plain data."""
        return self.members[0].input_info

    def check(self, frame: Frame) -> None:
        """Refuse what is not a frame; see :meth:`Pipeline.check`."""
        self.members[0].check(frame)

    def show(self, frame: Frame, *, color_order: Literal["rgb", "bgr"] | None = None) -> Frame:
        """The frame as (H, W, 3) uint8 RGB; see :meth:`Pipeline.show`."""
        return self.members[0].show(frame, color_order=color_order)

    def map_box(self, frame_size: tuple[int, int]) -> tuple[float, float, float, float]:
        """The part of a frame that its map covers; see :meth:`Pipeline.map_box`."""
        return self.members[0].map_box(frame_size)

    def write_input(
        self,
        frame: Frame,
        *,
        out: NDArray[np.float32],
        run: int = 0,
        color_order: Literal["rgb", "bgr"] | None = None,
    ) -> None:
        """A frame as the first network sees it; see :meth:`Pipeline.write_input`."""
        self.members[0].write_input(frame, out=out, run=run, color_order=color_order)

    def network_runs(self, frame_size: tuple[int, int]) -> int:
        """How often the first network runs for a frame of (H, W) pixels."""
        return self.members[0].network_runs(frame_size)

    def score(
        self, frames: Sequence[Frame], *, color_order: Literal["rgb", "bgr"] | None = None
    ) -> Scores:
        """Score frames with every member and fuse what they say; see :meth:`Pipeline.score`."""
        found = [member.score(frames, color_order=color_order) for member in self.members]
        start = time.perf_counter()
        fused = fuse(found, self.fusion)
        timings: dict[str, float] = {}
        for scores in found:
            for stage, ms in scores.timings.items():
                timings[stage] = timings.get(stage, 0.0) + ms
        timings["fusion"] = (time.perf_counter() - start) * 1e3
        return Scores(fused.image, fused.maps, fused.map_maxima, None, timings)

    def decide(
        self,
        frame: Frame,
        *,
        limit: float,
        review: float | None = None,
        score: bool = False,
        color_order: Literal["rgb", "bgr"] | None = None,
    ) -> tuple[PatchDecision, dict[str, float]]:
        """The verdict of one frame; all members are searched in full, the score is known."""
        return decided(self.score([frame], color_order=color_order), limit=limit, review=review)


def fuse(found: Sequence[Scores], fusion: Fusion) -> Scores:
    """Eq. 11 of each member's scores and maps, and their mean.

    ``z = (s - median) / (beta * mad)``. Computed in float64 for pictures, in float32 for maps.

    Args:
        found: of each member, for the same N frames; the first one's maps are overwritten.
        fusion: one entry per member.

    Returns:
        N pictures, without patch scores and timings.
    """
    count, beta = len(found), fusion.beta
    image = np.zeros(len(found[0].image), np.float64)
    maps = found[0].maps
    for n, scores in enumerate(found):
        image += (scores.image.astype(np.float64) - fusion.median[n]) / (beta * fusion.mad[n])
        factor, offset = _map_scale(fusion, n)
        if n == 0:
            maps -= offset
            maps *= factor
        else:
            rest = scores.maps  # of this call alone, so that it may serve as scratch
            rest -= offset
            rest *= factor
            maps += rest
    maxima: Array = maps.max(axis=(1, 2))
    return Scores((image / count).astype(np.float32), maps, maxima, None, {})


def _map_scale(fusion: Fusion, n: int) -> tuple[np.float32, np.float32]:
    """(factor, offset) of member n's map: its share of the fused one is (map - offset) factor."""
    factor = 1.0 / (len(fusion.map_mad) * fusion.beta * fusion.map_mad[n])
    return np.float32(factor), np.float32(fusion.map_median[n])


def _fused(values: Sequence[np.float32], fusion: Fusion) -> np.float32:
    """One value of each member's map, fused in the same order and to the same bits as maps are."""
    total: np.float32 = np.float32(0.0)
    for n, value in enumerate(values):
        factor, offset = _map_scale(fusion, n)
        share = np.float32(np.float32(value - offset) * factor)
        total = share if n == 0 else np.float32(total + share)
    return total
