"""Open an engine and inspect frames with it."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from pyad_edge.backends.onnxruntime import OnnxRuntimeBackend
from pyad_edge.calibration import Threshold, fixed_threshold, p_value, threshold_for
from pyad_edge.decision import find_regions, map_rate
from pyad_edge.engine import Engine, read_engine
from pyad_edge.engine_format import decode_names
from pyad_edge.errors import EngineError, SettingError
from pyad_edge.heads.approximate_index import ApproximateBank
from pyad_edge.heads.memory_bank import MemoryBankHead
from pyad_edge.ops import cpu_level, num_threads
from pyad_edge.pipeline import Pipeline, Scores
from pyad_edge.preprocessing import map_box
from pyad_edge.result import Nearest, Result

__all__ = ["Runtime", "build_pipeline"]

Frame = NDArray[np.uint8]


@dataclass(frozen=True)
class _Limits:
    """Both thresholds, swapped as one so that no frame sees a mixture."""

    score: Threshold
    map_value: float


class Runtime:
    """An opened engine, ready for a camera loop. One instance may serve several threads.

    Opening verifies the whole file, then runs the engine's golden pictures and refuses to open if a
    score drifted.

    Args:
        engine: path of a ``.pyad`` file, or an :class:`~pyad_edge.engine.Engine` already read.
        backend: ``onnxruntime`` (CPU).
        threads: of the network, 1 to 1024; none: all usable cores. The kernels' threads are set for
            the whole process, with :func:`pyad_edge.ops.set_num_threads`.
        false_reject: target rate of normal parts that are rejected; none: the engine's own.
        threshold: a fixed score threshold instead.
        color_order: of the frames that will come, ``rgb`` or ``bgr`` (OpenCV's); none: the
            engine's own.

    Raises:
        EngineError: if the file is damaged, foreign, too new, or its golden scores drift.
        BackendError: if the network does not run here.
        SettingError: if an argument cannot be used.
    """

    def __init__(
        self,
        engine: str | os.PathLike[str] | Engine,
        *,
        backend: str = "onnxruntime",
        threads: int | None = None,
        false_reject: float | None = None,
        threshold: float | None = None,
        color_order: Literal["rgb", "bgr"] | None = None,
    ) -> None:
        if backend != "onnxruntime":
            raise SettingError(
                f"[Runtime] unknown backend '{backend}'. This version has: onnxruntime."
            )
        if color_order not in (None, "rgb", "bgr"):
            raise SettingError(
                f"[Runtime] expected color_order 'rgb' or 'bgr', got {color_order!r}."
            )
        cpu_level()  # an unknown PYAD_CPU_LEVEL is refused here
        self._color_order = color_order
        self.engine = engine if isinstance(engine, Engine) else read_engine(engine)
        self._pipeline = build_pipeline(self.engine, threads=threads)
        tensors = self.engine.tensors
        self._sources = tensors["bank/sources"]
        self._pictures = decode_names(tensors["bank/pictures"])
        self._lock = threading.Lock()
        self._limits: _Limits
        if false_reject is None and threshold is None:
            false_reject = self.engine.manifest.threshold.false_reject
        self.set_threshold(false_reject=false_reject, value=threshold)
        self._golden_drift = self._check_golden()

    def infer(self, frame: Frame) -> Result:
        """Inspect one frame.

        Args:
            frame: (H, W, 3) in the runtime's colour order (RGB unless told otherwise), or (H, W) or
                (H, W, 1) mono, uint8, any strides, any size of at least 8 pixels; it is resized as
                the training pictures were.

        Raises:
            DataError: if the frame's type, shape or size cannot be inspected.
            BackendError: if the network fails. The frame then has no verdict; treat it as a fault.
        """
        start = time.perf_counter()
        limits = self._limits
        scores = self._pipeline.score([frame], color_order=self._color_order)
        return self._result(frame, scores, 0, limits, start, 1)

    def infer_batch(self, frames: Sequence[Frame]) -> list[Result]:
        """Inspect several frames in one run of the network; see :meth:`infer`.

        Timings are each frame's share of the batch.
        """
        if not frames:
            return []
        start = time.perf_counter()
        limits = self._limits
        scores = self._pipeline.score(frames, color_order=self._color_order)
        return [
            self._result(frame, scores, n, limits, start, len(frames))
            for n, frame in enumerate(frames)
        ]

    def set_threshold(
        self, *, false_reject: float | None = None, value: float | None = None
    ) -> Threshold:
        """Change the threshold of later frames, without refitting.

        Args:
            false_reject: target rate of rejected normal parts, 0 < rate <= 0.5.
            value: or a fixed score. The map's own threshold, which has no fixed value, then follows
                the rate at which that score rejects the calibration pictures, 0.5 at most.

        Returns:
            The threshold with what backs it.

        Raises:
            SettingError: unless exactly one is given and it can be used.
        """
        if (false_reject is None) == (value is None):
            raise SettingError(
                "[set_threshold] expected either false_reject or a fixed value, got "
                f"false_reject={false_reject}, value={value}."
            )
        scores = self.engine.tensors["calibration/scores"]
        if false_reject is not None:
            limit = threshold_for(scores, false_reject)
        else:
            limit = fixed_threshold(cast(float, value), scores)
        rate = map_rate(limit)
        maxima = self.engine.tensors["calibration/map_maxima"]
        with self._lock:
            self._limits = _Limits(limit, threshold_for(maxima, rate).value)
        return limit

    @property
    def threshold(self) -> Threshold:
        """The threshold in force and what backs it."""
        return self._limits.score

    @property
    def info(self) -> dict[str, Any]:
        """What runs where, as plain data."""
        manifest = self.engine.manifest
        return {
            "engine": str(self.engine.path),
            "method": manifest.method,
            "score_meaning": manifest.score_meaning,
            "backbone": manifest.backbone.name,
            "backend": self._pipeline.backend.info,
            "kernels": {"device": "cpu", "level": cpu_level(), "threads": num_threads()},
            "search": "exact" if manifest.index is None else manifest.index.statement(),
            "color_order": self._color_order or manifest.preprocessing.color_order,
            "input_size": list(self._pipeline.input_size),
            "threshold": self.threshold.statement(),
            "golden_drift": self._golden_drift,
        }

    def _check_golden(self) -> float:
        """Run the golden pictures; return the largest relative drift.

        A score near zero (a picture that lies in the bank) is measured against a tenth of the
        largest golden score: relative to itself it would drift by any rounding.
        """
        expected = self.engine.tensors["golden/scores"]
        floor = max(0.1 * float(np.abs(expected).max()), float(np.finfo(np.float32).tiny))
        tolerance = self.engine.manifest.golden.tolerance
        largest = 0.0
        for n, frame in enumerate(self.engine.tensors["golden/frames"]):
            score = float(self._pipeline.score([frame]).patches.image[0])
            wanted = float(expected[n])
            drift = abs(score - wanted) / max(abs(wanted), floor)
            if not drift <= tolerance:
                raise EngineError(
                    f"[Runtime] {self.engine.path}: golden picture {n} scores {score:.6g} here, "
                    f"but {wanted:.6g} where the engine was made (drift {drift:.2e}, tolerance "
                    f"{tolerance:.0e}). This machine or its inference backend computes "
                    "differently; update onnxruntime, or export the engine again."
                )
            largest = max(largest, drift)
        return largest

    def _result(
        self, frame: Frame, scores: Scores, n: int, limits: _Limits, start: float, share: int
    ) -> Result:
        decided = time.perf_counter()
        patches = scores.patches
        score = float(patches.image[n])
        box = map_box((frame.shape[0], frame.shape[1]), self._pipeline.preprocessing)
        mask = scores.maps[n] > limits.map_value
        h, w = patches.patch.shape[1:]
        row, column = divmod(int(patches.patch[n].argmax()), w)
        source = self._sources[int(patches.rows[n, row, column])]
        regions = find_regions(scores.maps[n], mask, box) if mask.any() else ()
        value = p_value(score, self.engine.tensors["calibration/scores"])
        end = time.perf_counter()
        timings = {stage: ms / share for stage, ms in scores.timings.items()}
        timings["decision"] = (end - decided) * 1e3
        timings["total"] = (end - start) * 1e3 if share == 1 else sum(timings.values())
        return Result(
            score=score,
            p_value=value,
            is_anomalous=score > limits.score.value,
            threshold=limits.score.value,
            anomaly_map=scores.maps[n],
            mask=mask,
            map_threshold=limits.map_value,
            regions=regions,
            peak=(
                min(int(box[0] + (column + 0.5) / w * box[2]), frame.shape[1] - 1),
                min(int(box[1] + (row + 0.5) / h * box[3]), frame.shape[0] - 1),
            ),
            nearest=Nearest(
                self._pictures[int(source[0])],
                int(source[1]),
                int(source[2]),
                float(patches.distances[n, row, column]),
            ),
            map_box=box,
            timings=timings,
        )


def build_pipeline(engine: Engine, *, threads: int | None = None) -> Pipeline:
    """The pipeline of a verified engine.

    Raises:
        BackendError: if the network does not run here, or the engine's index needs faiss.
        EngineError: if faiss cannot read the index.
    """
    manifest, bank = engine.manifest, engine.tensors["bank/features"]
    approximate = (
        ApproximateBank(bank, engine.tensors["index/faiss"], manifest.index)
        if manifest.index is not None
        else None
    )
    return Pipeline(
        preprocessing=manifest.preprocessing,
        backend=OnnxRuntimeBackend(
            bytes(engine.tensors["network/onnx"]),
            outputs=manifest.backbone.outputs,
            threads=threads,
        ),
        head=MemoryBankHead(bank, manifest.head, approximate=approximate),
        sigma=manifest.anomaly_map.sigma,
    )
