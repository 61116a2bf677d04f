"""Shares of cells that a plane covers, against the sum over every pixel."""

from __future__ import annotations

import numpy as np
import pytest

from pyad_edge.roi import covered, patches_seen


def slow(plane: np.ndarray, box: tuple[float, ...], grid: tuple[int, int]) -> np.ndarray:
    """The common area of each cell and each pixel, one by one."""

    def common(start: float, extent: float, cells: int, pixels: int) -> np.ndarray:
        low = start + np.arange(cells)[:, np.newaxis] * extent / cells
        pixel = np.arange(pixels)
        return np.maximum(np.minimum(low + extent / cells, pixel + 1) - np.maximum(low, pixel), 0)

    rows = common(box[1], box[3], grid[0], plane.shape[0])
    columns = common(box[0], box[2], grid[1], plane.shape[1])
    return rows @ plane @ columns.T / (box[2] * box[3] / (grid[0] * grid[1]))


@pytest.mark.parametrize("seed", range(40))
def test_shares_are_sums_over_pixels(seed: int) -> None:
    rng = np.random.default_rng(seed)
    plane = rng.random(rng.integers(1, 90, 2)) < rng.choice([0.02, 0.5, 1.0])
    grid = (int(rng.integers(1, 40)), int(rng.integers(1, 40)))
    box = tuple(float(v) for v in (*rng.uniform(-40, 20, 2), *rng.uniform(1, 200, 2)))
    np.testing.assert_allclose(
        covered(plane, box=box, grid=grid), slow(plane, box, grid), atol=1e-9
    )


def test_one_pixel_is_seen_by_the_cells_that_hold_it_alone() -> None:
    for side in (7, 64, 2448):  # of the mask, over a frame of 64 pixels
        for at in (0, side // 3, side - 1):
            mask = np.zeros((side, side), np.uint8)
            mask[at, at] = 1
            seen = patches_seen(
                mask, frame_size=(64, 64), box=(0.0, 0.0, 64.0, 64.0), grid=(32, 32)
            )
            held = range(at * 32 // side, -(-(at + 1) * 32 // side))
            np.testing.assert_array_equal(np.flatnonzero(seen.any(axis=0)), list(held))
            np.testing.assert_array_equal(np.flatnonzero(seen.any(axis=1)), list(held))
