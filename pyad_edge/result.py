"""What an inspection says about one frame."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ["Decision", "Nearest", "Region", "Result", "Verdict"]


class Verdict(str, Enum):
    """What becomes of a part; equal to its own name as a string.

    ``OK``: at or below every threshold. ``REVIEW``: between the two thresholds, for a person to
    look at. ``NG``: above the threshold. ``FAULT``: the frame could not be judged.
    """

    OK = "OK"
    REVIEW = "REVIEW"
    NG = "NG"
    FAULT = "FAULT"

    def __str__(self) -> str:
        """The bare name, in every Python version."""
        return self.value

    @classmethod
    def of(cls, score: float, threshold: float, review_threshold: float | None) -> Verdict:
        """The verdict of a score: ``NG`` above ``threshold``, ``REVIEW`` above the lower one.

        A score that is not a number is a ``FAULT``: it was not measured.
        """
        if score > threshold:
            return cls.NG
        if review_threshold is not None and score > review_threshold:
            return cls.REVIEW
        return cls.OK if score <= threshold else cls.FAULT


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

    The verdict compares ``score`` with ``threshold`` and, where one is set, ``review_threshold``;
    ``mask`` and ``regions`` compare the smoothed map with ``map_threshold``. These are two
    measurements: a frame that passes may have regions, and an anomalous one may have none. The
    verdict alone decides; regions say where to look.

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
        peak: (x, y) in pixels of the frame, the centre of the most anomalous patch; of methods
            without patch scores, the map's largest value.
        nearest: the normal patch nearest to it; None where there is no memory bank to name one.
        map_box: (x, y, width, height) in pixels of the frame, the part that the map covers.
        timings: milliseconds by stage: preprocess, backbone, head, map, decision, total.
        review_threshold: scores above it, up to ``threshold``, are for review; None: no such band.
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
    nearest: Nearest | None
    map_box: tuple[float, float, float, float]
    timings: Mapping[str, float]
    review_threshold: float | None = None

    @property
    def verdict(self) -> Verdict:
        """``OK``, ``REVIEW`` or ``NG``."""
        return Verdict.of(self.score, self.threshold, self.review_threshold)

    def to_dict(self) -> dict[str, Any]:
        """Everything except the arrays, as plain data for JSON."""
        return {
            "verdict": self.verdict.value,
            "score": self.score,
            "threshold": self.threshold,
            "review_threshold": self.review_threshold,
            "map_threshold": self.map_threshold,
            "p_value": self.p_value,
            "is_anomalous": self.is_anomalous,
            "peak": list(self.peak),
            "regions": [vars(region).copy() for region in self.regions],
            "nearest": None if self.nearest is None else vars(self.nearest).copy(),
            "timings_ms": {stage: round(ms, 3) for stage, ms in self.timings.items()},
        }


@dataclass(frozen=True, eq=False)
class Decision:
    """The verdict of ``Runtime.decide``: that of the full search, with only the work it takes.

    Attributes:
        verdict: ``OK``, ``REVIEW`` or ``NG``.
        settled: ``early`` where bounds settled the frame and no patch was searched; ``search``
            where some were.
        patches_searched: patches whose nearest bank row was searched exactly.
        patches: of the frame.
        score: the exact score; None where it was neither needed nor asked for.
        threshold: in force for this frame.
        review_threshold: the lower one; None: no such band.
        anomaly_map: (H, W) float32, where it was asked for.
        timings: milliseconds by stage.
    """

    verdict: Verdict
    settled: Literal["early", "search"]
    patches_searched: int
    patches: int
    score: float | None
    threshold: float
    review_threshold: float | None
    anomaly_map: NDArray[np.float32] | None
    timings: Mapping[str, float]

    @property
    def is_anomalous(self) -> bool:
        """Whether the verdict is ``NG``."""
        return self.verdict is Verdict.NG

    def to_dict(self) -> dict[str, Any]:
        """Everything except the map, as plain data for JSON."""
        return {
            "verdict": self.verdict.value,
            "settled": self.settled,
            "patches_searched": self.patches_searched,
            "patches": self.patches,
            "score": self.score,
            "threshold": self.threshold,
            "review_threshold": self.review_threshold,
            "is_anomalous": self.is_anomalous,
            "timings_ms": {stage: round(ms, 3) for stage, ms in self.timings.items()},
        }
