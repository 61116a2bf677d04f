"""From a map and thresholds to regions: the last step of an inspection."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from pyad_edge.calibration import Threshold
from pyad_edge.result import Region

__all__ = ["find_regions", "map_rate"]

ROUNDING = 1e-6  # pixels


def map_rate(limit: Threshold) -> float:
    """False-reject rate for the map's threshold that goes with a score threshold.

    A threshold set by hand has no target; the rate at which it rejects calibration pictures stands
    in.
    """
    if limit.false_reject is not None:
        return limit.false_reject
    return min((limit.normal_above + 1) / (limit.normal_pictures + 1), 0.5)


def find_regions(
    anomaly_map: NDArray[np.float32],
    mask: NDArray[np.bool_],
    map_box: tuple[float, float, float, float],
    *,
    frame_size: tuple[int, int] | None = None,
) -> tuple[Region, ...]:
    """Connected regions (8 neighbours) of a mask, the highest score first.

    Args:
        anomaly_map: (H, W) float32.
        mask: (H, W) bool.
        map_box: (x, y, width, height), where the map lies in the frame, in its pixels.
        frame_size: (H, W) of the frame, where the map may reach past it; boxes are cut there.
    """
    H, W = mask.shape
    bottom, right = frame_size if frame_size is not None else (np.inf, np.inf)
    least = 0.0 if frame_size is not None else -np.inf
    # OpenCV's labels with statistics take ten times as long as labels and outlines.
    _, labels = cv2.connectedComponents(mask.view(np.uint8), connectivity=8)
    outlines, tree = cv2.findContours(mask.view(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    outer = [] if tree is None else [o for o, t in zip(outlines, tree[0], strict=True) if t[3] < 0]
    scale_x, scale_y = map_box[2] / W, map_box[3] / H
    regions = []
    for outline in outer:
        left, top, width, height = cv2.boundingRect(outline)
        window = (slice(top, top + height), slice(left, left + width))
        label = int(labels[outline[0, 0, 1], outline[0, 0, 0]])
        inside = anomaly_map[window][labels[window] == label]
        score, area = float(inside.max()), inside.size
        x0 = max(map_box[0] + left * scale_x, least)
        y0 = max(map_box[1] + top * scale_y, least)
        x1 = min(map_box[0] + (left + width) * scale_x, right)
        y1 = min(map_box[1] + (top + height) * scale_y, bottom)
        # 27 / 47 * 47 is a little more than 27: a border that rounding moved stays where it was.
        x, y = math.floor(x0 + ROUNDING), math.floor(y0 + ROUNDING)
        region = Region(
            x=x,
            y=y,
            width=max(1, math.ceil(x1 - ROUNDING) - x),
            height=max(1, math.ceil(y1 - ROUNDING) - y),
            score=score,
            area=max(1, round(area * scale_x * scale_y)),
        )
        regions.append((-score, label, region))
    return tuple(region for _, _, region in sorted(regions, key=lambda entry: entry[:2]))
