"""Overlays: calm where normal, marked where not, readable at any size."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from pyad_edge.overlay import draw_overlay
from pyad_edge.result import Nearest, Region, Result

Image8 = npt.NDArray[np.uint8]
GREY = 90


def frame_of(height: int, width: int) -> Image8:
    return np.full((height, width, 3), GREY, np.uint8)


def result_of(
    frame: Image8, *, peak: float = 0.0, box: tuple[float, float, float, float] | None = None
) -> Result:
    """A map of 32 x 32 at 0.3 of the threshold with a square at ``peak`` times the threshold."""
    height, width = frame.shape[:2]
    box = box or (0.0, 0.0, float(width), float(height))
    anomaly_map = np.full((32, 32), 0.6, np.float32)
    anomaly_map[20:26, 4:10] = max(2.0 * peak, 0.6)
    mask = anomaly_map > 2.0
    regions = ()
    if mask.any():
        x, y = box[0] + 4 * box[2] / 32, box[1] + 20 * box[3] / 32
        size = (round(6 * box[2] / 32), round(6 * box[3] / 32))
        regions = (Region(round(x), round(y), *size, score=2.0 * peak, area=size[0] * size[1]),)
    return Result(
        score=2.0 * peak, p_value=0.02, is_anomalous=bool(mask.any()), threshold=2.0,
        anomaly_map=anomaly_map, mask=mask, map_threshold=2.0, regions=regions, peak=(0, 0),
        nearest=Nearest("a.png", 0, 0, 1.0), map_box=box, timings={},
    )  # fmt: skip


def panels(overlay: Image8, count: int, wide: int, high: int) -> list[Image8]:
    """Cut the panels out again: they stand at the bottom, centred, 6 pixels apart."""
    total = count * wide + (count - 1) * 6
    left = (overlay.shape[1] - total) // 2
    top = overlay.shape[0] - 6 - high
    return [
        overlay[top : top + high, left + i * (wide + 6) : left + i * (wide + 6) + wide]
        for i in range(count)
    ]


def test_normal_frame_is_left_calm() -> None:
    frame = frame_of(400, 400)
    plain, heat = panels(draw_overlay(frame, result_of(frame, peak=0.5)), 2, 400, 400)
    assert (plain == GREY).all()
    assert (heat == GREY).all()


def test_banner_tells_the_verdict() -> None:
    frame = frame_of(400, 400)
    good = draw_overlay(frame, result_of(frame))[2, 2].astype(int)
    bad = draw_overlay(frame, result_of(frame, peak=2.0))[2, 2].astype(int)
    band = replace(result_of(frame), score=1.9, review_threshold=1.5)
    review = draw_overlay(frame, band)[2, 2].astype(int)
    assert review[0] > review[1] + 30 > review[2] + 60  # amber
    assert good[1] > good[0] + 40  # green
    assert bad[0] > bad[1] + 80  # red


def test_defect_is_hot_outlined_and_boxed_where_it_is() -> None:
    frame = frame_of(400, 400)
    plain, heat = panels(draw_overlay(frame, result_of(frame, peak=2.0)), 2, 400, 400)
    assert (plain == GREY).all()
    changed = (heat != GREY).any(axis=2)
    rows, columns = np.nonzero(changed)
    # The square covers rows 250..325 and columns 50..125; box and score stand around it.
    assert 225 <= rows.min() <= 250
    assert 325 <= rows.max() <= 350
    assert 35 <= columns.min() <= 50
    assert 125 <= columns.max() <= 145
    centre = heat[287, 87].astype(int)
    assert centre[0] > 150
    assert centre[0] > centre[2] + 30  # yellow, not grey
    assert (heat == (255, 214, 10)).all(axis=2).sum() > 200


def test_scale_is_fixed_by_the_threshold_not_by_the_picture() -> None:
    """The same map value has the same colour, whatever else is in the picture."""
    frame = frame_of(400, 400)
    mild = result_of(frame, peak=1.2)
    spot = mild.anomaly_map.copy()
    spot[2:6, 24:28] = 40.0
    strong = replace(mild, anomaly_map=spot)
    one = panels(draw_overlay(frame, mild), 2, 400, 400)[1]
    two = panels(draw_overlay(frame, strong), 2, 400, 400)[1]
    np.testing.assert_array_equal(one[287, 87], two[287, 87])
    assert (one[50, 325] != two[50, 325]).any()


def test_map_of_a_crop_lies_where_the_crop_was() -> None:
    frame = frame_of(400, 400)
    box = (100.0, 100.0, 200.0, 200.0)
    result = replace(result_of(frame, peak=2.0, box=box), regions=())
    heat = panels(draw_overlay(frame, result), 2, 400, 400)[1]
    rows, columns = np.nonzero((heat != GREY).any(axis=2))
    assert 220 <= rows.min() <= 228
    assert 259 <= rows.max() <= 268
    assert 120 <= columns.min() <= 128
    assert 159 <= columns.max() <= 168
    hot_everywhere = replace(result, anomaly_map=np.full((32, 32), 9.0, np.float32))
    heat = panels(draw_overlay(frame, hot_everywhere), 2, 400, 400)[1]
    hot = (heat != GREY).any(axis=2)
    assert hot[100:300, 100:300].mean() > 0.99  # a smoothed outline may cross the frame's grey
    assert not hot[:98].any()
    assert not hot[:, 302:].any()


def test_ground_truth_has_its_own_panel() -> None:
    frame = frame_of(400, 400)
    truth = np.zeros((32, 32), bool)
    truth[20:26, 4:10] = True
    overlay = draw_overlay(frame, result_of(frame), ground_truth=truth)
    outlined = panels(overlay, 3, 400, 400)[2]
    rows, columns = np.nonzero((outlined != GREY).any(axis=2))
    assert abs(rows.min() - 250) <= 4
    assert abs(rows.max() - 325) <= 4
    assert abs(columns.min() - 50) <= 4
    assert abs(columns.max() - 125) <= 4
    assert (outlined[287, 87] == GREY).all()


@pytest.mark.parametrize(
    ("shape", "panel"),
    [
        ((16, 16), (360, 360)),
        ((8, 400), (8, 400)),
        ((300, 20), (360, 24)),
        ((480, 640), (480, 640)),
        ((3000, 4000), (540, 720)),
    ],
)
def test_every_frame_size(shape: tuple[int, int], panel: tuple[int, int]) -> None:
    frame = frame_of(*shape)
    overlay = draw_overlay(frame, result_of(frame, peak=3.0), title="a" * 300)
    assert overlay.dtype == np.uint8
    assert overlay.shape[0] == panel[0] + 44 + 22 + 6
    assert overlay.shape[1] >= max(2 * panel[1] + 18, 250)
    assert (panels(overlay, 2, panel[1], panel[0])[0] == GREY).all()


@pytest.mark.parametrize("title", ["Prüfteil_日本語_🙂.png", "\x00\n\t", "", "שלום"])
def test_any_text_is_a_title(title: str) -> None:
    frame = frame_of(400, 400)
    overlay = draw_overlay(frame, result_of(frame), title=title)
    plain = draw_overlay(frame, result_of(frame))
    assert overlay.shape == plain.shape
    assert (overlay != plain).any() == bool(title)


def test_many_regions_and_those_at_the_edge() -> None:
    frame = frame_of(64, 64)
    regions = tuple(Region(x, y, 3, 3, 5.0, 9) for x in (0, 61) for y in range(0, 62, 5))
    overlay = draw_overlay(frame, replace(result_of(frame, peak=2.0), regions=regions))
    assert overlay.shape[0] == 360 + 72


def test_extreme_numbers() -> None:
    frame = frame_of(400, 400)
    base = result_of(frame)
    for threshold in (0.0, float("inf")):
        odd = replace(base, threshold=threshold, map_threshold=threshold, score=1e30)
        assert draw_overlay(frame, odd).shape[0] == 472


def test_frame_is_not_drawn_upon() -> None:
    frame = frame_of(400, 400)
    draw_overlay(frame, result_of(frame, peak=3.0), ground_truth=np.ones((4, 4), bool))
    assert (frame == GREY).all()


def test_refusals() -> None:
    frame = frame_of(40, 40)
    with pytest.raises(ValueError, match=r"expected a frame \(H, W, 3\) uint8, got \(40, 40\)"):
        draw_overlay(frame[..., 0], result_of(frame))
    with pytest.raises(ValueError, match="float32"):
        draw_overlay(frame.astype(np.float32), result_of(frame))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="ground_truth"):
        draw_overlay(frame, result_of(frame), ground_truth=np.ones((4, 4)))  # type: ignore[arg-type]
