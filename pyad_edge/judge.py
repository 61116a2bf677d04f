"""From scores and thresholds to results: the last step of an inspection."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from pyad_edge.buffers import ArrayPool
from pyad_edge.calibration import p_value
from pyad_edge.decision import find_regions
from pyad_edge.engine import Engine
from pyad_edge.engine_format import decode_names
from pyad_edge.limits import Limits
from pyad_edge.pipeline import Scores
from pyad_edge.result import Nearest, Region, Result

__all__ = ["Judge"]

Box = tuple[float, float, float, float]


class Judge:
    """Makes results. Thread-safe; a frame that shows nothing costs it a few microseconds.

    Args:
        engine: whose calibration pictures and training pictures results speak of.
    """

    def __init__(self, engine: Engine) -> None:
        tensors = engine.tensors
        # float64: a float32 comparison could turn "just above" into a tie.
        self._normal = np.asarray(tensors["calibration/scores"], np.float64)
        self._sources = tensors.get("bank/sources")  # no bank: nothing nearest to name
        names = tensors.get("bank/pictures")
        self._pictures = () if names is None else decode_names(names)
        self._masks = ArrayPool()

    def result(
        self,
        scores: Scores,
        n: int,
        *,
        limits: Limits,
        box: Box,
        frame_size: tuple[int, int],
        start: float,
    ) -> Result:
        """The result of frame n of a batch.

        Args:
            scores: of the batch.
            n: which of its frames.
            limits: thresholds in force.
            box: (x, y, width, height) in pixels of the frame, the part that the map covers.
            frame_size: (H, W).
            start: ``time.perf_counter()`` when the batch came. Of a batch of several, timings are
                a frame's share.
        """
        began = time.perf_counter()
        share, score = len(scores.maps), float(scores.image[n])
        mask, regions = self._regions(scores, n, limits.map_value, box, frame_size)
        shown = scores.maps[n] if scores.patches is None else scores.patches.patch[n]
        h, w = shown.shape
        row, column = divmod(int(shown.argmax()), w)
        result = Result(
            score=score,
            p_value=p_value(score, self._normal),
            is_anomalous=score > limits.score.value,
            threshold=limits.score.value,
            anomaly_map=scores.maps[n],
            mask=mask,
            map_threshold=limits.map_value,
            regions=regions,
            # The centre of a patch that the frame's border cuts may lie beyond it.
            peak=(
                max(0, min(int(box[0] + (column + 0.5) / w * box[2]), frame_size[1] - 1)),
                max(0, min(int(box[1] + (row + 0.5) / h * box[3]), frame_size[0] - 1)),
            ),
            nearest=self._nearest(scores, n, row, column),
            map_box=box,
            timings=(timings := {stage: ms / share for stage, ms in scores.timings.items()}),
            review_threshold=limits.review_value,
        )
        end = time.perf_counter()
        timings["decision"] = (end - began) * 1e3
        timings["total"] = (end - start) * 1e3 if share == 1 else sum(timings.values())
        return result

    def _regions(
        self, scores: Scores, n: int, map_value: float, box: Box, frame_size: tuple[int, int]
    ) -> tuple[Any, tuple[Region, ...]]:
        anomaly_map = scores.maps[n]
        (mask,) = self._masks.take((anomaly_map.shape, np.bool_))
        limit = np.float32(map_value)  # as NumPy compares a float32 array with a Python float
        if not scores.map_maxima[n] > limit:
            mask.fill(False)
            return mask, ()
        np.greater(anomaly_map, limit, out=mask)
        return mask, find_regions(anomaly_map, mask, box, frame_size=frame_size)

    def _nearest(self, scores: Scores, n: int, row: int, column: int) -> Nearest | None:
        if scores.patches is None or self._sources is None:
            return None
        picture, i, j = self._sources[scores.patches.rows[n][row, column]].tolist()
        distance = float(scores.patches.distances[n][row, column])
        return Nearest(self._pictures[picture], i, j, distance)
