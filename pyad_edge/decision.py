"""From a map and thresholds to regions: the last step of an inspection."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from pyad_edge.calibration import Threshold
from pyad_edge.errors import SettingError
from pyad_edge.result import Region

__all__ = ["find_regions", "fixed_threshold", "map_rate"]


def fixed_threshold(normal_scores: NDArray[np.float32], value: float) -> Threshold:
    """A threshold that the user set as a score.

    Raises:
        SettingError: if ``value`` is not finite.
    """
    if not math.isfinite(value):
        raise SettingError(f"[set_threshold] expected a finite score as threshold, got {value}.")
    above = int((normal_scores > value).sum())
    n = len(normal_scores)
    return Threshold(
        value=value,
        false_reject=(above + 1) / (n + 1),
        normal_pictures=n,
        method="fixed",
        guaranteed_false_reject=(above + 1) / (n + 1),
    )


def map_rate(normal_scores: NDArray[np.float32], limit: Threshold) -> float:
    """False-reject rate for the map's threshold that goes with a score threshold."""
    return min(limit.false_reject, 0.5)


def find_regions(
    anomaly_map: NDArray[np.float32],
    mask: NDArray[np.bool_],
    map_box: tuple[float, float, float, float],
) -> tuple[Region, ...]:
    """Connected regions (8 neighbours) of a mask, the highest score first.

    Args:
        anomaly_map: (H, W) float32.
        mask: (H, W) bool.
        map_box: (x, y, width, height), where the map lies in the frame, in its pixels.
    """
    H, W = mask.shape
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.view(np.uint8), connectivity=8)
    scale_x, scale_y = map_box[2] / W, map_box[3] / H
    regions = []
    for label in range(1, count):
        left, top, width, height, area = (int(v) for v in stats[label])
        window = (slice(top, top + height), slice(left, left + width))
        score = float(anomaly_map[window][labels[window] == label].max())
        x0, x1 = map_box[0] + left * scale_x, map_box[0] + (left + width) * scale_x
        y0, y1 = map_box[1] + top * scale_y, map_box[1] + (top + height) * scale_y
        x, y = math.floor(x0), math.floor(y0)
        regions.append(
            Region(
                x=x,
                y=y,
                width=max(1, math.ceil(x1) - x),
                height=max(1, math.ceil(y1) - y),
                score=score,
                area=max(1, round(area * scale_x * scale_y)),
            )
        )
    return tuple(sorted(regions, key=lambda region: -region.score))
