"""Frame to scores with everything on a CUDA device: one graph in, one block of results back."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pyad_edge.backends.device_session import DeviceSession
from pyad_edge.device.bank import DeviceBank
from pyad_edge.device.bank_graph import BankGraph
from pyad_edge.device.frame_graph import FrameGraph
from pyad_edge.errors import BackendError, DataError, SettingError
from pyad_edge.heads.decide import PatchDecision
from pyad_edge.heads.patch_scores import PatchScores, reweighted_score
from pyad_edge.ops.cuda.device import require_device
from pyad_edge.pipeline import Pipeline, Scores
from pyad_edge.preprocessing import MAX_SIDE, MIN_SIDE, check_frame
from pyad_edge.result import Verdict
from pyad_edge.workspace import OutputShapes

__all__ = ["DevicePipeline", "on_device"]

_CUDA_MEMORY = (2, 13)  # DLPack device types: CUDA, CUDA managed
_KINDS = 8  # frame sizes whose graphs are kept; of more, the one used longest ago is forgotten
_Key = tuple[Any, ...]


def on_device(frame: Any) -> bool:
    """Whether a frame is an array in CUDA memory (``__cuda_array_interface__`` or DLPack)."""
    if isinstance(frame, np.ndarray):
        return False
    if hasattr(frame, "__cuda_array_interface__"):
        return True
    asked = getattr(frame, "__dlpack_device__", None)
    return asked is not None and int(asked()[0]) in _CUDA_MEMORY


class DevicePipeline(Pipeline):
    """Scores frames on a CUDA device, with a backend that has ``device_session``. Thread-safe.

    Given the same features, every result has the bits of the CPU's pipeline: the kernels do, and
    the few exponentials of equation 7 are the host's. Graphs are planned for each size of frame
    when it is first seen, a further one where several calls run at once; a frame of a known size
    allocates nothing on the device.

    Frames may lie in host memory, as for :class:`~pyad_edge.pipeline.Pipeline`, or on the device:
    uint8 (H, W), (H, W, 1) or (H, W, 3), any strides, with ``__cuda_array_interface__`` or DLPack
    (CuPy, torch, NVMM buffers that DeepStream or jetson-utils share through DLPack). A call's
    frames all lie in one of the two.
    """

    def __init__(self, **settings: Any) -> None:
        """As :class:`~pyad_edge.pipeline.Pipeline`.

        Raises:
            SettingError: if the backend has no device session, or the engine's bank is searched
                through an approximate index.
            BackendError: if there is no CUDA build or device, or it has not enough memory.
        """
        super().__init__(**settings)
        session = getattr(self.backend, "device_session", None)
        if session is None:
            raise SettingError(
                f"[device] the backend {self.backend.info['name']} has no arrays on a device. Use "
                "the backend torch or tensorrt with device='cuda'."
            )
        require_device()
        self._session = session
        self._prepare()
        self._lock = threading.Lock()
        self._planning = threading.Lock()  # captures disturb each other
        self._shapes = OutputShapes()
        self._idle: dict[_Key, list[FrameGraph]] = {}

    def _prepare(self) -> None:
        """Bring to the device what serves all frames."""
        self._device_bank = DeviceBank(self.head)

    def _plan(self, session: DeviceSession, shapes: Any, order: Any, *, maps: bool) -> FrameGraph:
        """The graph of frames of these sizes."""
        return BankGraph(
            session,
            self._device_bank,
            self.head.settings,
            self.preprocessing,
            shapes=shapes,
            color_order=order,
            sigma=self.sigma,
            maps=maps,
        )

    @property
    def kernels(self) -> dict[str, Any]:
        """Where everything but the network runs, as plain data."""
        module = require_device()
        capability, _ = module.device_traits()
        about = {"name": module.device_name(), "compute_capability": capability / 10}
        return {"device": "cuda", **about}

    def check(self, frame: Any) -> None:
        """Refuse what is not a frame; see :meth:`Pipeline.check`."""
        if not on_device(frame):
            check_frame(frame)
            return
        shape = tuple(getattr(frame, "shape", ()))
        fits = len(shape) == 2 or (len(shape) == 3 and shape[2] in (1, 3))
        if not fits or not all(MIN_SIDE <= side <= MAX_SIDE for side in shape[:2]):
            raise DataError(
                "[infer] expected a frame on the device of shape (H, W, 3), (H, W) or (H, W, 1), "
                f"sides of {MIN_SIDE} to {MAX_SIDE} pixels, got {shape}. Drop an alpha channel "
                "with frame[..., :3]."
            )

    def score(
        self, frames: Sequence[Any], *, color_order: Literal["rgb", "bgr"] | None = None
    ) -> Scores:
        """Score frames; see :meth:`Pipeline.score`.

        Timings: ``upload`` (into pinned memory; of frames on the device, their pre-processing is
        enqueued), ``device`` (the graph, copies of frame and results included), ``results``.

        Raises:
            DataError: if a frame cannot be read, or some lie on the device and others do not.
            BackendError: if the device fails or a score is not finite.
        """
        return self._scored(frames, color_order, maps=True)

    def decide(
        self,
        frame: Any,
        *,
        limit: float,
        review: float | None = None,
        score: bool = False,
        color_order: Literal["rgb", "bgr"] | None = None,
    ) -> tuple[PatchDecision, dict[str, float]]:
        """The verdict of one frame, without its map; see :meth:`Pipeline.decide`.

        Every patch is searched: the certificate that saves searches has no CUDA form. The score is
        always known.
        """
        scores = self._scored([frame], color_order, maps=False)
        value = float(scores.image[0])
        count = scores.of_patches.rows.size
        verdict = Verdict.of(value, limit, review)
        return PatchDecision(verdict, count, count, value), scores.timings

    def last_features(self) -> list[NDArray[np.float32]]:
        """Outputs of the network for the frames scored last, (N, C, h, w) each: for comparisons.

        Only where one thread uses the pipeline.

        Raises:
            BackendError: if nothing was scored yet, or the device fails.
        """
        with self._lock:
            waiting = list(self._idle.values())
        if not waiting:
            raise BackendError("[device] no frame was scored yet. Call score first.")
        return waiting[-1][-1].features()

    def _scored(
        self, frames: Sequence[Any], color_order: Literal["rgb", "bgr"] | None, *, maps: bool
    ) -> Scores:
        there = [on_device(frame) for frame in frames]
        for frame in frames:
            self.check(frame)
        if any(there) and not all(there):
            raise DataError(
                "[infer] expected all frames of a call on the device or none, got both. Copy them "
                "to one place, or pass them in two calls."
            )
        order = color_order or self.preprocessing.color_order
        shapes = None if there[0] else tuple(frame.shape for frame in frames)
        with self._borrow((len(frames), shapes, order, maps)) as graph:
            start = time.perf_counter()
            try:
                graph.upload(frames)
            except (TypeError, ValueError) as error:
                raise DataError(f"[infer] a frame on the device cannot be read: {error}") from error
            uploaded = time.perf_counter()
            graph.run()
            ran = time.perf_counter()
            scores = self._results(graph, len(frames), maps)
            end = time.perf_counter()
        scores.timings.update(
            upload=(uploaded - start) * 1e3,
            device=(ran - uploaded) * 1e3,
            results=(end - ran) * 1e3,
        )
        return scores

    def _results(self, graph: FrameGraph, N: int, maps: bool) -> Scores:
        """Copy what the device left in pinned memory, and finish the scores."""
        host = graph.results.host
        if not np.isfinite(host["squared"]).all():
            raise BackendError(
                "[infer] the network's output cannot be scored: a feature or a squared distance is "
                "not finite. Is the network broken? The frame counts as a fault."
            )
        grid = (N, *graph.grid)
        maximum = self.head.settings.scoring == "maximum"
        image, patch, rows, distances, drawn, maxima = self.buffers.take(
            ((N,), np.float32),
            (grid if maximum else (0,), np.float32),
            (grid, np.int64),
            (grid, np.float32),
            ((N, *graph.size) if maps else (0,), np.float32),
            ((N,) if maps else (0,), np.float32),
        )
        rows[:] = host["rows"].reshape(grid)
        distances[:] = host["distances"].reshape(grid)
        if maps:
            drawn[:], maxima[:] = host["maps"], host["maxima"]
        winners = host["winners"]
        for n in range(N):
            largest = host["squared"][n, winners[n]]
            image[n] = (
                largest if maximum else reweighted_score(float(largest), np.sort(host["around"][n]))
            )
        if maximum:
            patch[:] = host["squared"].reshape(grid)
        scores = PatchScores(image, patch if maximum else distances, rows, distances)
        return Scores(image, drawn, maxima, scores, {})

    @contextmanager
    def _borrow(self, key: _Key) -> Iterator[FrameGraph]:
        """A graph for frames of these sizes, for the length of a ``with`` block."""
        with self._lock:
            waiting = self._idle.get(key)
            graph = waiting.pop() if waiting else None
        if graph is None:
            N, shapes, order, maps = key
            with self._planning:
                session = self._session(N)
                self._shapes.check(N, [tuple(output.shape) for output in session.outputs])
                graph = self._plan(session, shapes, order, maps=maps)
        try:
            yield graph
        finally:
            with self._lock:
                waiting = self._idle.pop(key, [])
                waiting.append(graph)
                self._idle[key] = waiting
                if len(self._idle) > _KINDS:
                    del self._idle[next(iter(self._idle))]
