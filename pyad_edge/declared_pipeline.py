"""The pipeline of an engine that declares its input, and of a runtime with a region of interest."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pyad_edge.backends import Backend
from pyad_edge.engine_manifest import Preprocessing
from pyad_edge.feeder import DeclaredInput, Feeder
from pyad_edge.frames import Picture
from pyad_edge.geometry import Box, FramePlan, Tile
from pyad_edge.heads.decide import PatchDecision
from pyad_edge.heads.patch_scores import PatchScores
from pyad_edge.ops import anomaly_map
from pyad_edge.pipeline import Pipeline, Scores, unscorable
from pyad_edge.result import Verdict

__all__ = ["DeclaredPipeline"]

Frame = NDArray[Any]


class DeclaredPipeline(Pipeline):
    """Scores frames of a declared format, one by one; thread-safe.

    It allocates what a frame's conversion and map need. Patches that do not count are -1 in the
    patch scores, and have row -1; the map is 0 there.

    Args:
        preprocessing, backend, head, sigma: as for :class:`Pipeline`.
        declared: see there.
        grid: (h, w), patches of the network's input.
        own: the pipeline with the engine's own input, where ``declared`` departs from it.
        positions: as for :class:`Pipeline`, on the grid of the whole frame.
    """

    one_by_one = True

    def __init__(
        self,
        *,
        preprocessing: Preprocessing,
        backend: Backend,
        head: Any,
        sigma: float,
        declared: DeclaredInput,
        grid: tuple[int, int],
        own: Pipeline | None = None,
        positions: NDArray[np.integer] | None = None,
    ) -> None:
        super().__init__(
            preprocessing=preprocessing,
            backend=backend,
            head=head,
            sigma=sigma,
            # Of a tiled frame: where in a tile. It only says which rows to try first.
            positions=None if positions is None else positions % np.array(grid),
        )
        self._feeder = Feeder(preprocessing, declared, grid=grid, sigma=sigma)
        self._own = own
        if own is not None:  # plans whose outputs the golden frames have tried
            self._workspaces = own._workspaces

    @property
    def own(self) -> Pipeline:
        """The pipeline that the engine's golden frames were scored with."""
        return self._own if self._own is not None else self

    @property
    def input_info(self) -> dict[str, Any]:
        """What frames it takes, as plain data."""
        declared = self._feeder.declared
        return {
            "pixel_format": None if declared.format is None else declared.format.pixels.name,
            "window": None if declared.format is None else declared.format.window,
            "size_policy": declared.policy if declared.frame_size is None else "error",
            "frame_size": declared.frame_size,
            "regions_of_interest": len(declared.masks),
        }

    def map_box(self, frame_size: tuple[int, int]) -> Box:
        """The part of a frame that its map covers; it may reach past the frame."""
        return self._feeder.plan(frame_size).box

    def write_input(
        self,
        frame: Frame,
        *,
        out: NDArray[np.float32],
        run: int = 0,
        color_order: Literal["rgb", "bgr"] | None = None,
    ) -> None:
        """A frame as the network sees it; see :meth:`Pipeline.write_input`."""
        self.check(frame)
        plan = self._feeder.plan(frame.shape)
        tile = plan.tiles[run % len(plan.tiles)]
        self._feeder.write(self._feeder.picture(frame), plan, tile, out)

    def network_runs(self, frame_size: tuple[int, int]) -> int:
        """How often the network runs for a frame of (H, W) pixels: once per tile."""
        return len(self._feeder.plan(frame_size).tiles)

    def check(self, frame: Frame) -> None:
        """Refuse what is not a frame of the declared format and size.

        Raises:
            DataError: names what was declared and what came.
        """
        self._feeder.check(frame)

    def show(self, frame: Frame, *, color_order: Literal["rgb", "bgr"] | None = None) -> Picture:
        """The frame as (H, W, 3) uint8 RGB: its grey levels as the network sees them.

        Args:
            frame: of the declared format.
            color_order: settled when the pipeline was made; not looked at.
        """
        return self._feeder.show(frame)

    def score(
        self, frames: Sequence[Frame], *, color_order: Literal["rgb", "bgr"] | None = None
    ) -> Scores:
        """Score frames whose maps have one size, such as a single one.

        Args:
            frames: at least one, of the declared format.
            color_order: settled when the pipeline was made; not looked at.

        Raises:
            DataError: if a frame does not fit what was declared.
            BackendError: if the network fails or gives values that are not finite.
        """
        for frame in frames:
            self.check(frame)
        if len(frames) == 1:
            return self._score(frames[0])
        scores = [self._score(frame) for frame in frames]
        return Scores(
            np.concatenate([one.image for one in scores]),
            np.concatenate([one.maps for one in scores]),
            np.concatenate([one.map_maxima for one in scores]),
            None if scores[0].patches is None else _stacked([one.of_patches for one in scores]),
            {key: sum(one.timings[key] for one in scores) for key in scores[0].timings},
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
        """The verdict of one frame's score, see :meth:`Pipeline.decide`.

        Patches that do not count are neither searched nor counted. Of several tiles, each is
        decided on its own: where all their patches are within the limit, so is the frame. Tiles
        that may hold the frame's largest patch score are searched in full, because eq. 7 looks at
        that patch alone.
        """
        self.check(frame)
        start = time.perf_counter()
        plan = self._feeder.plan(frame.shape)
        picture = self._feeder.picture(frame)
        timings = {"preprocess": (time.perf_counter() - start) * 1e3, "backbone": 0.0, "head": 0.0}
        alone, searched = len(plan.tiles) == 1, 0
        open_tiles: list[Tile] = []
        # Of the first open tile the network's output is kept, until a second one shows that all of
        # them have to be searched: of many tiles it would be a lot of memory.
        first: tuple[tuple[NDArray[np.float32], ...], float] | None = None
        full: list[PatchScores] = []
        with self._workspaces.borrow(1) as workspace, unscorable("decide"):
            certifier = self._certifier or self._prepare_certifier(workspace.grid)
            for tile in plan.tiles:
                begin = time.perf_counter()
                self._feeder.write(picture, plan, tile, workspace.session.input)
                written = time.perf_counter()
                workspace.run()
                ran = time.perf_counter()
                levels = workspace.session.outputs
                found = certifier.decide(
                    levels, limit=limit, review=review, score=score, valid=tile.valid
                )
                searched += found.searched
                if found.score is not None:
                    open_tiles.append(tile)
                    if first is None:
                        kept = levels if alone else tuple(level.copy() for level in levels)
                        first = (kept, found.score)
                    else:
                        if not full:
                            full.append(self.head.score(first[0], valid=open_tiles[0].valid))
                        full.append(self.head.score(levels, valid=tile.valid))
                timings["preprocess"] += (written - begin) * 1e3
                timings["backbone"] += (ran - written) * 1e3
                timings["head"] += (time.perf_counter() - ran) * 1e3
            begin = time.perf_counter()
            patches = plan.patches
            searched = min(searched, patches)
            value = None if first is None else first[1]
            if full:
                value = float(_assembled(full, replace(plan, tiles=tuple(open_tiles))).image[0])
                searched = min(searched + sum(tile.patches for tile in open_tiles), patches)
            timings["head"] += (time.perf_counter() - begin) * 1e3
        verdict = Verdict.OK if value is None else Verdict.of(value, limit, review)
        if verdict is Verdict.OK and not (alone or score):
            value = None  # a tile that was settled early may hold a larger one, within the limit
        return PatchDecision(verdict, searched, patches, value), timings

    def _score(self, frame: Frame) -> Scores:
        start = time.perf_counter()
        plan = self._feeder.plan(frame.shape)
        picture = self._feeder.picture(frame)
        timings = {"preprocess": (time.perf_counter() - start) * 1e3, "backbone": 0.0, "head": 0.0}
        found = []
        with self._workspaces.borrow(1) as workspace:
            for tile in plan.tiles:
                begin = time.perf_counter()
                self._feeder.write(picture, plan, tile, workspace.session.input)
                written = time.perf_counter()
                workspace.run()
                ran = time.perf_counter()
                with unscorable("infer"):
                    found.append(self.head.score(workspace.session.outputs, valid=tile.valid))
                timings["preprocess"] += (written - begin) * 1e3
                timings["backbone"] += (ran - written) * 1e3
                timings["head"] += (time.perf_counter() - ran) * 1e3
        begin = time.perf_counter()
        patches = _assembled(found, plan)
        shown = patches.patch
        if plan.counts is not None:
            shown = np.where(plan.counts, shown, np.float32(0.0))
        maps, maxima = anomaly_map(shown, size=plan.map_size, sigma=self.sigma)
        if plan.gain is not None:
            maps *= plan.gain
            maxima = maps.max(axis=(1, 2))
        timings["map"] = (time.perf_counter() - begin) * 1e3
        return Scores(patches.image, maps, maxima, patches, timings)


def _stacked(scores: Sequence[PatchScores]) -> PatchScores:
    return PatchScores(
        np.concatenate([one.image for one in scores]),
        np.concatenate([one.patch for one in scores]),
        np.concatenate([one.rows for one in scores]),
        np.concatenate([one.distances for one in scores]),
    )


def _assembled(found: Sequence[PatchScores], plan: FramePlan) -> PatchScores:
    """Scores of all tiles on the frame's grid.

    The frame's score is that of the tile that holds the patch with the largest score: eq. 7 looks
    at nothing but that patch. Of equal ones the first in row-major order of the frame wins.
    """
    patch = np.full((1, *plan.grid), -1.0, np.float32)
    distances = patch.copy()
    rows = np.full((1, *plan.grid), -1, np.int64)
    best, image = (-1.0, -patch.size), np.zeros(1, np.float32)
    for tile, scores in zip(plan.tiles, found, strict=True):
        height, width = tile.rows.stop - tile.rows.start, tile.columns.stop - tile.columns.start
        row, column = tile.at
        target = (0, slice(row, row + height), slice(column, column + width))
        source = (0, tile.rows, tile.columns)
        taken = np.ones((height, width), bool) if tile.valid is None else tile.valid[source] > 0
        for whole, part in (
            (patch, scores.patch),
            (distances, scores.distances),
            (rows, scores.rows),
        ):
            np.copyto(whole[target], part[source], where=taken)
        own = patch[target]
        y, x = divmod(int(own.argmax()), width)
        rank = (float(own[y, x]), -((row + y) * plan.grid[1] + column + x))
        if rank > best:
            best = rank
            image[0] = scores.image[0]
    return PatchScores(image, patch, rows, distances)
