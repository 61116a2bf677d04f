"""Open an engine and inspect frames with it."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from pyad_edge.backends.registry import golden_tolerance
from pyad_edge.calibration import Threshold
from pyad_edge.device_loss import DeviceWatch, watched
from pyad_edge.engine import Engine, read_engine
from pyad_edge.errors import BackendError, SettingError
from pyad_edge.golden import check_golden
from pyad_edge.input_choice import MaskSource
from pyad_edge.judge import Judge
from pyad_edge.limits import Limits, choose_limits
from pyad_edge.opening import build_pipeline
from pyad_edge.ops import cpu_level
from pyad_edge.pipeline import Pipeline, Scores
from pyad_edge.result import Decision, Result, Verdict
from pyad_edge.trust.check import SignaturePolicy, policy_of

if TYPE_CHECKING:
    from pyad_edge.drift import DriftMonitor
    from pyad_edge.streaming import GateSettings, StateChange, Stream, StreamSettings

__all__ = ["Runtime", "build_pipeline"]

Frame = NDArray[np.uint8]


class Runtime:
    """An opened engine, ready for a camera loop. One instance may serve several threads.

    Opening verifies the whole file, then runs the engine's golden pictures and refuses to open if a
    score drifted. Memory is planned then; a frame allocates none, except where more threads call at
    once, or more results are kept, than ever before. Several threads get the same bits as one.

    Args:
        engine: path of a ``.pyad`` file, or an :class:`~pyad_edge.engine.Engine` already read.
        backend: what runs the network, by name; ``pyad-edge doctor`` lists what is there. Another
            one is never taken instead.
        precision: ``fp32``, ``fp16``, ``bf16`` or ``int8``, where the backend has it; none: the
            backend's own default.
        device: the backend's name of a device (``cpu``, ``cuda``, ``cuda:1``, ``GPU`` ...); none:
            its default.
        threads: of the network, 1 to 1024; none: all usable cores. The kernels' threads are set for
            the whole process, with :func:`pyad_edge.ops.set_num_threads`.
        spinning: whether the network's threads wait actively between its layers: faster where the
            cores belong to the inspection, slower where other programs want them.
        false_reject: target rate of normal parts that are rejected; none: the engine's own.
        threshold: a fixed score threshold instead.
        review: of a band for review below the threshold; see :meth:`set_threshold`.
        color_order: of the frames that will come, ``rgb`` or ``bgr`` (OpenCV's); none: the
            engine's own.
        pixel_format: of the frames that will come, a PFNC name such as ``BGR8``, where it shows
            what the engine's own shows; none: the engine's own.
        size_policy: ``error`` to refuse frames of another size than the training pictures', where
            the engine knows it; none: the engine's own.
        mask: region of interest, an array (H, W) or a picture file: only what is not 0 is
            inspected, of what the engine's own mask leaves.
        require_signature: file of public keys that are trusted, or a
            :class:`~pyad_edge.trust.SignaturePolicy`: the engine opens only if one of them signed
            it, and from then on no older version of it; none: signatures are not looked at.

    Attributes:
        engine: the verified file.
        device_watch: whether the device was lost, and why.

    Raises:
        EngineError: if the file is damaged, foreign, too new, lacks a signature that is required,
            one of its networks is refused, or its golden scores drift.
        BackendError: if the network does not run here.
        SettingError: if an argument cannot be used.
    """

    def __init__(
        self,
        engine: str | os.PathLike[str] | Engine,
        *,
        backend: str = "onnxruntime",
        precision: str | None = None,
        device: str | None = None,
        threads: int | None = None,
        spinning: bool = True,
        false_reject: float | None = None,
        threshold: float | None = None,
        review: float | None = None,
        color_order: Literal["rgb", "bgr"] | None = None,
        pixel_format: str | None = None,
        size_policy: str | None = None,
        mask: MaskSource | None = None,
        require_signature: SignaturePolicy | str | os.PathLike[str] | None = None,
    ) -> None:
        if color_order not in (None, "rgb", "bgr"):
            raise SettingError(
                f"[Runtime] expected color_order 'rgb' or 'bgr', got {color_order!r}."
            )
        cpu_level()  # an unknown PYAD_CPU_LEVEL is refused here
        self._color_order = color_order
        self._process = os.getpid()
        self.device_watch = DeviceWatch()
        if not isinstance(engine, Engine):
            engine = read_engine(engine, require_signature=require_signature)
        elif require_signature is not None:
            engine = engine.checked(policy_of(require_signature))
        self.engine = engine
        if false_reject is None and threshold is None:
            false_reject = self.engine.manifest.threshold.false_reject
        self._lock = threading.Lock()
        self._limits: Limits
        self.set_threshold(false_reject=false_reject, value=threshold, review=review)
        self._pipeline = build_pipeline(
            self.engine,
            backend=backend,
            precision=precision,
            device=device,
            threads=threads,
            spinning=spinning,
            color_order=color_order,
            pixel_format=pixel_format,
            size_policy=size_policy,
            mask=mask,
        )
        self._judge = Judge(self.engine)
        self._golden_tolerance = golden_tolerance(
            str(self._pipeline.backend.info["precision"]), self.engine.manifest.golden.tolerance
        )
        self._golden_drift = check_golden(
            self._pipeline, self.engine, tolerance=self._golden_tolerance
        )
        if require_signature is not None and engine.accepted is not None:
            engine.accepted.remember()  # what does not run here shuts out no older version

    @watched
    def infer(self, frame: Frame) -> Result:
        """Inspect one frame.

        Args:
            frame: what the engine declares, see ``info["input"]`` and docs/input.md: an array of
                its pixel format (uint8, uint16 or float32), of a size that its size policy takes,
                any strides. Where it declares nothing, (H, W, 3) uint8 in the runtime's colour
                order (RGB unless told otherwise), or (H, W) or (H, W, 1) mono, sides of 8 to
                16384 pixels; it is resized as the training pictures were.

        Raises:
            DataError: if the frame's type, shape or size cannot be inspected.
            BackendError: if the network fails. The frame then has no verdict; treat it as a fault.
                Also in a child process that was forked after the runtime was opened. As a
                ``DeviceLostError`` from the first error on that only a new process cures.
        """
        self._check_process()
        start = time.perf_counter()
        limits = self._limits
        scores = self._pipeline.score([frame], color_order=self._color_order)
        return self._result(frame, scores, 0, limits, start)

    @watched
    def infer_batch(self, frames: Sequence[Frame]) -> list[Result]:
        """Inspect several frames in one run of the network; see :meth:`infer`.

        Where an engine declares its input, or a region of interest was given, one after the other.

        Timings are each frame's share of the batch. The results of a batch share one block of
        memory: keeping one keeps the maps of all.
        """
        self._check_process()
        if not len(frames):
            return []
        if self._pipeline.one_by_one:
            return [self.infer(frame) for frame in frames]
        start = time.perf_counter()
        limits = self._limits
        scores = self._pipeline.score(frames, color_order=self._color_order)
        return [self._result(frame, scores, n, limits, start) for n, frame in enumerate(frames)]

    @watched
    def decide(self, frame: Frame, *, score: bool = False, anomaly_map: bool = False) -> Decision:
        """The verdict that :meth:`infer` gives, with only the work that the verdict takes.

        Args:
            frame: as for :meth:`infer`.
            score: whether the exact score is wanted in any case.
            anomaly_map: whether the map is wanted; it takes the full search.

        Raises:
            DataError, BackendError: as :meth:`infer`.
        """
        self._check_process()
        start = time.perf_counter()
        limits = self._limits
        upper, lower = limits.score.value, limits.review_value
        if anomaly_map:
            scores = self._pipeline.score([frame], color_order=self._color_order)
            exact = float(scores.image[0])
            shown = scores.maps if scores.patches is None else scores.patches.patch
            # Patches that do not count (outside a region of interest, say) are -1.
            patches = int(np.count_nonzero(shown[0] >= 0.0)) if scores.patches else shown[0].size
            return Decision(
                verdict=Verdict.of(exact, upper, lower),
                settled="search",
                patches_searched=patches,
                patches=patches,
                score=exact,
                threshold=upper,
                review_threshold=lower,
                anomaly_map=scores.maps[0],
                timings=_with_total(scores.timings, start),
            )
        found, timings = self._pipeline.decide(
            frame, limit=upper, review=lower, score=score, color_order=self._color_order
        )
        return Decision(
            verdict=found.verdict,
            settled=found.settled,
            patches_searched=found.searched,
            patches=found.patches,
            score=found.score,
            threshold=upper,
            review_threshold=lower,
            anomaly_map=None,
            timings=_with_total(timings, start),
        )

    def stream(
        self,
        source: Any,
        *,
        policy: Literal["inspect", "live"] = "inspect",
        mode: Literal["infer", "decide"] = "infer",
        settings: StreamSettings | None = None,
        gate: GateSettings | Literal["auto"] | None = "auto",
        on_state: Callable[[StateChange], None] | None = None,
        drift: DriftMonitor | Mapping[str, DriftMonitor] | None = None,
    ) -> Stream:
        """Inspect a source, or several, frame by frame; every trigger gives one inspection.

        Args:
            source: a folder, picture, video file, camera or address, any iterable of frames, or a
                dictionary of several by name.
            policy: ``inspect``: every trigger gets a verdict or a fault; ``live``: the newest frame
                wins, and drops are counted.
            mode: ``infer``, or ``decide`` for the verdict alone.
            settings: queues, deadlines, time limits.
            gate: checks of the input; ``auto``: those that suit the kind of source; None: none.
            on_state: called for every change of a camera's state, in a thread of its own.
            drift: a monitor of the camera, or one each by name: alarms, in ``Inspection.drift``.

        Returns:
            An iterator of :class:`~pyad_edge.streaming.Inspection`; close it, or use ``with``.

        Raises:
            DataError, SettingError, BackendError: as
                :func:`pyad_edge.streaming.inspect_sources`.
        """
        from pyad_edge.streaming import inspect_sources

        return inspect_sources(
            self,
            source,
            policy=policy,
            mode=mode,
            settings=settings,
            gate=gate,
            on_state=on_state,
            drift=drift,
        )

    def set_threshold(
        self,
        *,
        false_reject: float | None = None,
        value: float | None = None,
        review: float | None = None,
    ) -> Threshold:
        """Change the thresholds of later frames, without refitting; all change in one step.

        Args:
            false_reject: target rate of rejected normal parts, 0 < rate <= 0.5.
            value: or a fixed score. The map's own threshold, which has no fixed value, then follows
                the rate at which that score rejects the calibration pictures, 0.5 at most.
            review: opens a band for ``REVIEW`` below the threshold, in the same terms: beside
                ``false_reject`` the rate of normal parts in the band or above it, larger than
                ``false_reject``; beside ``value`` a score below it. None: no band.

        Returns:
            The threshold with what backs it.

        Raises:
            SettingError: unless exactly one of the first two is given and all can be used.
        """
        tensors = self.engine.tensors
        limits = choose_limits(
            tensors["calibration/scores"],
            tensors["calibration/map_maxima"],
            false_reject=false_reject,
            value=value,
            review=review,
        )
        with self._lock:
            self._limits = limits
        return limits.score

    @property
    def threshold(self) -> Threshold:
        """The threshold in force and what backs it."""
        return self._limits.score

    @property
    def review_threshold(self) -> Threshold | None:
        """The lower threshold of the band for review; None where there is no band."""
        return self._limits.review

    @property
    def pipeline(self) -> Pipeline:
        """What scores frames; its ``backend`` runs the network."""
        return self._pipeline

    def picture(self, frame: Frame) -> NDArray[np.uint8]:
        """A frame as (H, W, 3) uint8 RGB, for overlays: in grey levels as the network sees it.

        Raises:
            DataError: as :meth:`infer`.
        """
        return self._pipeline.show(frame, color_order=self._color_order)

    @property
    def info(self) -> dict[str, Any]:
        """What runs where, as plain data."""
        manifest, limits = self.engine.manifest, self._limits
        signed = self.engine.signed
        return {
            "engine": str(self.engine.path),
            "method": manifest.method,
            "score_meaning": manifest.score_meaning,
            "backbone": manifest.backbone.name,
            "backend": dict(self._pipeline.backend.info),
            "device": getattr(self._pipeline.backend, "device", "cpu"),
            "kernels": self._pipeline.kernels,
            "search": "exact" if manifest.index is None else manifest.index.statement(),
            "color_order": self._color_order or manifest.preprocessing.color_order,
            "input": self._pipeline.input_info,
            "input_size": list(self._pipeline.input_size),
            "threshold": limits.statement(),
            "thresholds": {
                "score": limits.score.value,
                "review": limits.review_value,
                "map": limits.map_value,
            },
            "signed": None if signed is None else signed.model_dump(mode="json"),
            "golden_drift": self._golden_drift,
            "golden_tolerance": self._golden_tolerance,
        }

    def _check_process(self) -> None:
        if os.getpid() != self._process:
            raise BackendError(
                f"[Runtime] {self.engine.path} was opened in process {self._process} and is called "
                f"in {os.getpid()}, a fork of it. The threads of the network and of the kernels "
                "stayed behind, so it would hang. Open the Runtime in the child, or start children "
                'with multiprocessing.get_context("spawn").'
            )

    def _result(self, frame: Frame, scores: Scores, n: int, limits: Limits, start: float) -> Result:
        size = (frame.shape[0], frame.shape[1])
        return self._judge.result(
            scores,
            n,
            limits=limits,
            box=self._pipeline.map_box(size),
            frame_size=size,
            start=start,
        )


def _with_total(timings: dict[str, float], start: float) -> dict[str, float]:
    return {**timings, "total": (time.perf_counter() - start) * 1e3}
