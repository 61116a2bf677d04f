"""What an inspection says about one frame."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Nearest", "Region", "Result"]


@dataclass(frozen=True)
class Region:
    """A connected anomalous region.

    Attributes:
        x, y, width, height: bounding box in pixels of the frame.
        score: largest value of the anomaly map inside.
        area: pixels of the frame that the region covers (rounded).
    """

    x: int
    y: int
    width: int
    height: int
    score: float
    area: int


@dataclass(frozen=True)
class Nearest:
    """The normal patch that the most anomalous patch resembles most.

    Attributes:
        picture: name of the training picture.
        row, column: position in the patch grid of that picture.
        distance: Euclidean distance in feature space.
    """

    picture: str
    row: int
    column: int
    distance: float


@dataclass(frozen=True, eq=False)
class Result:
    """The verdict on one frame.

    The verdict compares ``score`` with ``threshold``; ``mask`` and ``regions`` compare the smoothed
    map with ``map_threshold``. These are two measurements: a frame that passes may have regions,
    and an anomalous one may have none. The verdict alone decides; regions say where to look.

    Attributes:
        score: of the frame; larger is more anomalous. Its meaning stands in ``Runtime.info``.
        p_value: (1 + #) / (n + 1), where # of the n calibration pictures score at least as high;
            never below 1 / (n + 1).
        is_anomalous: ``score > threshold``.
        threshold: in force for this frame.
        anomaly_map: (H, W) float32 at the network's resolution, smoothed patch scores.
        mask: (H, W) bool, where the map is above its own threshold.
        map_threshold: that threshold, from the calibration pictures' map maxima at the same
            false-reject rate; with a fixed ``threshold``, at the rate at which that rejects the
            calibration pictures, (1 + #) / (n + 1), 0.5 at most.
        regions: connected regions of the mask, the highest score first.
        peak: (x, y) in pixels of the frame, the centre of the most anomalous patch.
        nearest: the normal patch nearest to it.
        map_box: (x, y, width, height) in pixels of the frame, the part that the map covers.
        timings: milliseconds by stage: preprocess, backbone, head, map, decision, total.
    """

    score: float
    p_value: float
    is_anomalous: bool
    threshold: float
    anomaly_map: NDArray[np.float32]
    mask: NDArray[np.bool_]
    map_threshold: float
    regions: tuple[Region, ...]
    peak: tuple[int, int]
    nearest: Nearest
    map_box: tuple[float, float, float, float]
    timings: Mapping[str, float]

    def to_dict(self) -> dict[str, Any]:
        """Everything except the arrays, as plain data for JSON."""
        return {
            "verdict": "NG" if self.is_anomalous else "OK",
            "score": self.score,
            "threshold": self.threshold,
            "map_threshold": self.map_threshold,
            "p_value": self.p_value,
            "is_anomalous": self.is_anomalous,
            "peak": list(self.peak),
            "regions": [vars(region).copy() for region in self.regions],
            "nearest": vars(self.nearest).copy(),
            "timings_ms": {stage: round(ms, 3) for stage, ms in self.timings.items()},
        }
