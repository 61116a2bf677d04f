"""Regions, peaks and boxes in the frame's own pixels; rates for the map's threshold."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tiny_engine import TinyEngine, write_engine

from pyad_edge import Runtime, read_image
from pyad_edge.calibration import fixed_threshold, threshold_for
from pyad_edge.decision import find_regions, map_rate
from pyad_edge.result import Result


def test_two_regions_in_frame_pixels_highest_first() -> None:
    values = np.zeros((20, 40), np.float32)
    values[2:5, 3:9] = 1.0
    values[10:12, 30:40] = 2.0
    values[11, 39] = 5.0
    # The map covers 80 x 60 pixels of the frame from (100, 50): 2 wide, 3 high a position.
    low, high = find_regions(values, values > 0.5, (100.0, 50.0, 80.0, 60.0))[::-1]
    assert (high.x, high.y, high.width, high.height) == (160, 80, 20, 6)
    assert (high.score, high.area) == (5.0, 20 * 6)
    assert (low.x, low.y, low.width, low.height) == (106, 56, 12, 9)
    assert (low.score, low.area) == (1.0, 6 * 3 * 6)


def test_regions_touching_at_a_corner_are_one() -> None:
    values = np.eye(4, dtype=np.float32)
    (region,) = find_regions(values, values > 0, (0.0, 0.0, 4.0, 4.0))
    assert (region.x, region.y, region.width, region.height, region.area) == (0, 0, 4, 4, 4)


def test_a_region_of_another_ones_box_keeps_its_own_score() -> None:
    values = np.zeros((9, 9), np.float32)
    values[0], values[:, 0] = 1.0, 1.0  # an L around ...
    values[4, 4] = 3.0  # ... a spot
    spot, angle = find_regions(values, values > 0, (0.0, 0.0, 9.0, 9.0))
    assert (spot.score, spot.x, spot.y, spot.area) == (3.0, 4, 4, 1)
    assert (angle.score, angle.width, angle.height, angle.area) == (1.0, 9, 9, 17)


def test_boxes_of_shrunk_frames_cover_the_region_and_stay_in_the_frame() -> None:
    values = np.zeros((64, 64), np.float32)
    values[60:, 60:] = 1.0
    (region,) = find_regions(values, values > 0, (0.0, 0.0, 33.0, 17.0))
    assert region.x + region.width == 33
    assert region.y + region.height == 17
    assert region.width >= 1
    assert region.height >= 1
    assert region.area >= 1


def test_boxes_of_whole_maps_end_where_the_frame_ends() -> None:
    # In floating point 49 * (frame / 49) may lie above the frame's side.
    for side in range(8, 400):
        values = np.ones((49, 47), np.float32)
        (region,) = find_regions(values, values > 0, (0.0, 0.0, float(side), float(side)))
        assert (region.x, region.y, region.width, region.height) == (0, 0, side, side)


def test_an_empty_mask_has_no_regions() -> None:
    empty = np.zeros((5, 5), np.float32)
    assert find_regions(empty, empty > 0, (0.0, 0.0, 5.0, 5.0)) == ()


def test_the_map_takes_the_rate_of_the_score() -> None:
    normal = np.arange(9.0)
    assert map_rate(threshold_for(normal, 0.01)) == 0.01
    assert map_rate(fixed_threshold(100.0, normal)) == 1 / 10
    assert map_rate(fixed_threshold(6.5, normal)) == 3 / 10
    assert map_rate(fixed_threshold(-1.0, normal)) == 0.5


def spot_result(
    tiny: TinyEngine, engine: Path, *, x: int, y: int, shape: tuple[int, int]
) -> tuple[Result, Runtime]:
    """Inspect a part, stretched to a frame (H, W), with a striped 24 x 24 spot at (x, y)."""
    runtime = Runtime(engine, false_reject=0.5)
    part = read_image(sorted((tiny.data / "train/good").iterdir())[0])
    rows = np.arange(shape[0]) * part.shape[0] // shape[0]
    columns = np.arange(shape[1]) * part.shape[1] // shape[1]
    frame = part[rows][:, columns].copy()
    frame[y - 12 : y + 12, x - 12 : x + 12] = np.array([255, 0, 255], np.uint8)
    frame[y - 12 : y + 12 : 4, x - 12 : x + 12] = np.array([0, 255, 0], np.uint8)
    return runtime.infer(frame), runtime


@pytest.mark.parametrize(
    ("settings", "shape", "box"),
    [
        ({}, (96, 200), (0.0, 0.0, 200.0, 96.0)),
        ({"resize": (64, 96)}, (150, 120), (0.0, 0.0, 120.0, 150.0)),
        ({"resize": 72, "crop": (64, 64)}, (144, 240), (56.0, 8.0, 128.0, 128.0)),
        ({"resize": (80, 96), "crop": (64, 64)}, (160, 288), (48.0, 16.0, 192.0, 128.0)),
    ],
    ids=["whole", "whole-tall", "shorter-side-crop", "exact-crop"],
)
def test_peak_and_regions_lie_on_the_spot_in_the_frame(
    tiny: TinyEngine,
    tmp_path: Path,
    settings: dict[str, object],
    shape: tuple[int, int],
    box: tuple[float, float, float, float],
) -> None:
    engine = write_engine(
        tmp_path / "e.pyad", tiny.data, tiny.backbone, scoring="maximum", **settings
    )
    for fx, fy in ((0.3, 0.7), (0.7, 0.25)):
        x, y = int(box[0] + fx * box[2]), int(box[1] + fy * box[3])
        result, runtime = spot_result(tiny, engine.path, x=x, y=y, shape=shape)
        assert result.map_box == pytest.approx(box)
        assert result.is_anomalous
        # Features see a neighbourhood: one patch of the coarser grid around the spot's rim.
        reach_x, reach_y = 12 + 16 * box[2] / 64, 12 + 16 * box[3] / 64
        assert abs(result.peak[0] - x) <= reach_x
        assert abs(result.peak[1] - y) <= reach_y
        best = result.regions[0]
        assert best.x <= x < best.x + best.width
        assert best.y <= y < best.y + best.height
        assert best.x + 1 > box[0]
        assert best.x + best.width <= shape[1]
        assert best.y + best.height <= shape[0]
        # The mask says the same at the network's resolution.
        H, W = result.anomaly_map.shape
        assert tuple(runtime.info["input_size"]) == (H, W)
        assert result.mask[int(fy * H), int(fx * W)]
        np.testing.assert_array_equal(result.mask, result.anomaly_map > result.map_threshold)
        top = np.unravel_index(result.anomaly_map.argmax(), (H, W))
        assert abs(top[1] / W - fx) * box[2] <= reach_x
        assert abs(top[0] / H - fy) * box[3] <= reach_y
