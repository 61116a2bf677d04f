"""Where a frame's pixels and patches go, by size policy and region of interest; kept per size.

- ``resize``: the whole frame becomes the network's input, whatever its shape (the policy ``error``
  is the same for one size alone).
- ``letterbox``: the frame keeps its shape; what is left of the input is filled with a declared grey
  level, and patches that lie there by more than half never count.
- ``tile``: overlapping pieces of the frame, each the network's input; see ``tiling``.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pyad_edge.engine_manifest import InputSpec, Preprocessing, Tiling
from pyad_edge.errors import DataError
from pyad_edge.ops import anomaly_map
from pyad_edge.ops._checks import MAX_SIDE
from pyad_edge.preprocessing import input_size, map_box
from pyad_edge.roi import Mask, patches_inside, patches_seen
from pyad_edge.tiling import cut_axis

__all__ = ["FramePlan", "Geometry", "Tile"]

Box = tuple[float, float, float, float]
_SIZES_KEPT = 16
MAX_TILES = 16384  # of a frame: minutes of work, so nobody means more


@dataclass(frozen=True, eq=False)
class Tile:
    """One run of the network.

    Attributes:
        top, left, height, width: of the piece in the frame, in its pixels; it may reach past the
            frame's lower and right end, which is then mirrored.
        inner: (top, left, height, width) that it takes of the network's input; the rest is padding.
        valid: (1, h, w) uint8, patches that are taken from it; None: all.
        rows, columns: of the tile's grid that hold them, and
        at: (row, column) in the frame's grid of the first one.
    """

    top: int
    left: int
    height: int
    width: int
    inner: tuple[int, int, int, int]
    valid: NDArray[np.uint8] | None
    rows: slice
    columns: slice
    at: tuple[int, int]

    @property
    def patches(self) -> int:
        """How many are taken from it."""
        area = (self.rows.stop - self.rows.start) * (self.columns.stop - self.columns.start)
        return int(area if self.valid is None else np.count_nonzero(self.valid))


@dataclass(frozen=True, eq=False)
class FramePlan:
    """How frames of one size are scored.

    Attributes:
        tiles: in order; those without a patch that counts are left out.
        grid: (gh, gw), patches of the frame.
        counts: (gh, gw) bool, those that count; None: all.
        map_size: (H, W) of the anomaly map.
        box: where the map lies in the frame, in its pixels; it may reach past it.
        gain: (H, W) float32 that the smoothed map is multiplied by, 0 where nothing counts; None:
            everything counts. Smoothing takes patches that do not count as 0, and the gain makes up
            for them (normalised convolution; Knutsson and Westin, 1993).
    """

    tiles: tuple[Tile, ...]
    grid: tuple[int, int]
    counts: NDArray[np.bool_] | None
    map_size: tuple[int, int]
    box: Box
    gain: NDArray[np.float32] | None

    @property
    def patches(self) -> int:
        """How many patches count."""
        whole = self.grid[0] * self.grid[1]
        return whole if self.counts is None else int(np.count_nonzero(self.counts))


class Geometry:
    """Plans of the sizes that come. Thread-safe.

    Args:
        preprocessing: of the engine.
        policy: ``resize``, ``letterbox`` or ``tile``.
        spec: the declared input; None: nothing is declared.
        grid: (h, w), patches of the network's input.
        sigma: of the map's Gaussian, in pixels of the network's input.
        masks: regions of interest, each (H, W) uint8, stretched over every frame; a patch counts
            if all of them hold it.
    """

    def __init__(
        self,
        *,
        preprocessing: Preprocessing,
        policy: Literal["resize", "letterbox", "tile"],
        spec: InputSpec | None,
        grid: tuple[int, int],
        sigma: float,
        masks: tuple[Mask, ...],
    ) -> None:
        self.policy = policy
        self._preprocessing = preprocessing
        self._input = input_size(preprocessing)
        self._tiling: Tiling | None = spec.tiling if spec is not None else None
        self._grid = grid
        self._sigma = sigma
        self._masks = masks
        self._lock = threading.Lock()
        self._plans: dict[tuple[int, int], FramePlan] = {}

    def plan(self, frame_size: tuple[int, int]) -> FramePlan:
        """The plan of frames of (H, W) pixels.

        Raises:
            DataError: if such frames cannot be inspected.
        """
        with self._lock:
            plan = self._plans.get(frame_size)
            if plan is None:
                plan = self._make(frame_size)
                if len(self._plans) >= _SIZES_KEPT:
                    del self._plans[next(iter(self._plans))]
                self._plans[frame_size] = plan
        return plan

    def _make(self, frame_size: tuple[int, int]) -> FramePlan:
        if self.policy == "tile":
            return self._masked(self._tiled(frame_size), frame_size)
        H, W = frame_size
        h, w = self._grid
        inner = (0, 0, *self._input)
        box = map_box(frame_size, self._preprocessing)
        if self.policy == "letterbox":
            inner, box = _letterbox(frame_size, self._input)
        tile = Tile(0, 0, H, W, inner, None, slice(0, h), slice(0, w), (0, 0))
        plan = FramePlan((tile,), self._grid, None, self._input, box, None)
        return self._masked(plan, frame_size)

    def _tiled(self, frame_size: tuple[int, int]) -> FramePlan:
        tiling = self._tiling
        if tiling is None:
            raise ValueError("[geometry] the size policy 'tile' needs a tiling.")
        if frame_size[0] < tiling.size[0] or frame_size[1] < tiling.size[1]:
            raise DataError(
                f"[infer] expected a frame of at least one tile, {tiling.size[1]} x "
                f"{tiling.size[0]} pixels, got {frame_size[1]} x {frame_size[0]}. Is the camera's "
                "region of interest set?"
            )
        rows, columns = (
            cut_axis(
                frame_size[axis],
                size=tiling.size[axis],
                overlap=tiling.overlap[axis],
                align=tiling.align[axis],
                cells=self._grid[axis],
            )
            for axis in (0, 1)
        )
        if (count := len(rows.starts) * len(columns.starts)) > MAX_TILES:
            raise DataError(
                f"[infer] a frame of {frame_size[1]} x {frame_size[0]} pixels is cut into "
                f"{count:,} tiles, at most {MAX_TILES:,} are possible. Use a camera of fewer "
                "pixels, or an engine with larger tiles or less overlap."
            )
        tiles = []
        for top, (a, b), row in zip(rows.starts, rows.owned, rows.first, strict=True):
            for left, (c, d), column in zip(
                columns.starts, columns.owned, columns.first, strict=True
            ):
                inside = (slice(a - row, b - row), slice(c - column, d - column))
                if a == b or c == d:  # its neighbours know all of its patches better
                    continue
                valid = np.zeros((1, *self._grid), np.uint8)
                valid[0][inside] = 1
                inner = (0, 0, *self._input)
                tiles.append(Tile(top, left, *tiling.size, inner, valid, *inside, (a, c)))
        grid = (rows.patches, columns.patches)
        pitch = (tiling.size[0] / self._grid[0], tiling.size[1] / self._grid[1])
        map_size = (
            round(grid[0] * self._input[0] / self._grid[0]),
            round(grid[1] * self._input[1] / self._grid[1]),
        )
        if max(map_size) > MAX_SIDE:
            raise DataError(
                f"[infer] a frame of {frame_size[1]} x {frame_size[0]} pixels has a map of "
                f"{map_size[1]} x {map_size[0]} at this tile size, at most {MAX_SIDE} a side are "
                "possible. Use a camera of fewer pixels, or an engine with larger tiles."
            )
        box = (0.0, 0.0, grid[1] * pitch[1], grid[0] * pitch[0])
        return FramePlan(tuple(tiles), grid, None, map_size, box, None)

    def _masked(self, plan: FramePlan, frame_size: tuple[int, int]) -> FramePlan:
        """The same plan without the patches that do not count."""
        counts = patches_inside(frame_size=frame_size, box=plan.box, grid=plan.grid)
        for mask in self._masks:
            counts &= patches_seen(mask, frame_size=frame_size, box=plan.box, grid=plan.grid)
        if counts.all():
            if plan.box[2] <= frame_size[1] and plan.box[3] <= frame_size[0]:
                return plan
            # The last patches reach past the frame: what the map shows there is nowhere.
            return replace(plan, gain=_gain(plan, counts, frame_size, self._sigma))
        tiles = [kept for tile in plan.tiles if (kept := _restrict(tile, counts, self._grid))]
        if not tiles:
            raise DataError(
                f"[infer] the region of interest leaves no patch of a frame of {frame_size[1]} x "
                f"{frame_size[0]} pixels. Paint more of it white, or look at the crop."
            )
        return replace(
            plan,
            tiles=tuple(tiles),
            counts=counts,
            gain=_gain(plan, counts, frame_size, self._sigma),
        )


def _letterbox(
    frame_size: tuple[int, int], target: tuple[int, int]
) -> tuple[tuple[int, int, int, int], Box]:
    """Part of the input that the frame takes, centred; the whole input in the frame's pixels."""
    (H, W), (h, w) = frame_size, target
    scale = min(h / H, w / W)
    height, width = max(1, min(h, round(H * scale))), max(1, min(w, round(W * scale)))
    top, left = (h - height) // 2, (w - width) // 2
    y, x = H / height, W / width  # pixels of the frame in one of the input
    return (top, left, height, width), (-left * x, -top * y, w * x, h * y)


def _restrict(tile: Tile, counts: NDArray[np.bool_], grid: tuple[int, int]) -> Tile | None:
    height = tile.rows.stop - tile.rows.start
    width = tile.columns.stop - tile.columns.start
    row, column = tile.at
    kept = counts[row : row + height, column : column + width]
    if not kept.any():
        return None
    valid = np.zeros((1, *grid), np.uint8)
    valid[0, tile.rows, tile.columns] = kept
    return replace(tile, valid=valid)


def _gain(
    plan: FramePlan, counts: NDArray[np.bool_], frame_size: tuple[int, int], sigma: float
) -> NDArray[np.float32]:
    (H, W), (gh, gw) = plan.map_size, plan.grid
    weight = anomaly_map(counts.astype(np.float32)[np.newaxis], size=(H, W), sigma=sigma)[0][0]
    rows, columns = np.arange(H) * gh // H, np.arange(W) * gw // W
    # Pixels of the map that belong to a patch that counts, and lie in the frame.
    shown = counts[rows][:, columns]
    shown &= patches_inside(frame_size=frame_size, box=plan.box, grid=plan.map_size)
    gain = np.zeros((H, W), np.float32)
    np.divide(1.0, weight, out=gain, where=shown & (weight > 0))
    gain.flags.writeable = False
    return gain
