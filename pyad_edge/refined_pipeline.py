"""The last stage of engines that have one: a network draws the anomaly map again."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pyad_edge.backends._common import thread_count
from pyad_edge.backends.onnxruntime_session import OnnxRuntimeSession, open_session
from pyad_edge.cosine_pipeline import decided
from pyad_edge.engine_manifest import Refinement
from pyad_edge.errors import BackendError, SettingError
from pyad_edge.heads.decide import PatchDecision
from pyad_edge.ops import MapPlan
from pyad_edge.pipeline import Frame, Pipeline, Scores
from pyad_edge.workspace import WorkspacePool

__all__ = ["INPUT", "OUTPUT", "RefinedPipeline"]

INPUT, OUTPUT = "input", "map"  # names in the refinement's ONNX file


class RefinedPipeline(Pipeline):
    """Scores frames with another pipeline, then refines each map. Thread-safe, as that one is.

    The refined map takes the place of the map in the inner pipeline's memory, so that nothing more
    is allocated per frame. The refinement runs on the CPU, whatever runs the inner network.

    Args:
        inner: of the same engine without its refinement.
        network: bytes of the ONNX file, input (1, 1 or 4, H, W), output (1, 1, H, W).
        settings: of the manifest.
        threads: of the refinement network; none: all usable cores.
        spinning: whether they wait busily between operators.

    Raises:
        BackendError: if the network does not run.
        SettingError: if frames are cut into tiles: their maps have other sizes than the network's.
    """

    def __init__(
        self,
        inner: Pipeline,
        network: bytes,
        settings: Refinement,
        *,
        threads: int | None = None,
        spinning: bool = True,
    ) -> None:
        if inner.input_info["size_policy"] == "tile":
            raise SettingError(
                "[Runtime] this engine refines its maps at one size, so its frames cannot be cut "
                "into tiles. Use the size policy resize or letterbox, or an engine without a "
                "refinement."
            )
        # Everything but the map is the inner pipeline's, this pipeline's networks included.
        self.inner = inner
        self.settings = settings
        self.preprocessing = inner.preprocessing
        self.backend = inner.backend
        self.head = inner.head
        self.sigma = inner.sigma
        self.input_size = inner.input_size
        self.buffers = inner.buffers
        self.one_by_one = inner.one_by_one
        self._network = _Network(
            network, inner.input_size, picture=settings.picture, threads=threads, spinning=spinning
        )
        self._refinements = WorkspacePool(self._network)  # type: ignore[arg-type]
        self._smooth = MapPlan(inner.input_size, sigma=settings.sigma) if settings.sigma else None
        self._own = self
        if inner.own is not inner:
            self._own = RefinedPipeline(
                inner.own, network, settings, threads=threads, spinning=spinning
            )

    @property
    def own(self) -> Pipeline:
        """The pipeline that the engine's golden frames were scored with."""
        return self._own

    @property
    def kernels(self) -> dict[str, Any]:
        """Where everything but the network runs, as plain data."""
        return self.inner.kernels | {"refinement": "onnxruntime on the cpu"}

    @property
    def input_info(self) -> dict[str, Any]:
        """What frames it takes, as plain data."""
        return self.inner.input_info

    def check(self, frame: Frame) -> None:
        """Refuse what is not a frame; see :meth:`Pipeline.check`."""
        self.inner.check(frame)

    def show(self, frame: Frame, *, color_order: Literal["rgb", "bgr"] | None = None) -> Frame:
        """The frame as (H, W, 3) uint8 RGB; see :meth:`Pipeline.show`."""
        return self.inner.show(frame, color_order=color_order)

    def map_box(self, frame_size: tuple[int, int]) -> tuple[float, float, float, float]:
        """The part of a frame that its map covers; see :meth:`Pipeline.map_box`."""
        return self.inner.map_box(frame_size)

    def write_input(
        self,
        frame: Frame,
        *,
        out: NDArray[np.float32],
        run: int = 0,
        color_order: Literal["rgb", "bgr"] | None = None,
    ) -> None:
        """A frame as the inner network sees it; see :meth:`Pipeline.write_input`."""
        self.inner.write_input(frame, out=out, run=run, color_order=color_order)

    def network_runs(self, frame_size: tuple[int, int]) -> int:
        """How often the inner network runs for a frame of (H, W) pixels."""
        return self.inner.network_runs(frame_size)

    def score(
        self, frames: Sequence[Frame], *, color_order: Literal["rgb", "bgr"] | None = None
    ) -> Scores:
        """Score frames and refine their maps; see :meth:`Pipeline.score`.

        Raises:
            BackendError: also if the refinement fails or gives values outside [0, 1].
        """
        scores = self.inner.score(frames, color_order=color_order)
        start = time.perf_counter()
        image = scores.image
        if self.settings.score == "keep" and np.shares_memory(image, scores.map_maxima):
            image = image.copy()  # the maxima are about to change
        for n, frame in enumerate(frames):
            self._refine(frame, scores, n, color_order)
        if self.settings.score == "maximum":
            image = scores.map_maxima
        ms = (time.perf_counter() - start) * 1e3
        return replace(scores, image=image, timings=scores.timings | {"refinement": ms})

    def decide(
        self,
        frame: Frame,
        *,
        limit: float,
        review: float | None = None,
        score: bool = False,
        color_order: Literal["rgb", "bgr"] | None = None,
    ) -> tuple[PatchDecision, dict[str, float]]:
        """The verdict of one frame.

        Where the picture's score is the inner one, so is the decision, and nothing is refined;
        where it is the refined map's maximum, the whole map is needed.
        """
        if self.settings.score == "keep":
            return self.inner.decide(
                frame, limit=limit, review=review, score=score, color_order=color_order
            )
        return decided(self.score([frame], color_order=color_order), limit=limit, review=review)

    def _refine(
        self, frame: Frame, scores: Scores, n: int, color_order: Literal["rgb", "bgr"] | None
    ) -> None:
        """Draw map n again, where it lies, and its maximum."""
        anomaly_map = scores.maps[n]
        with self._refinements.borrow(1) as workspace:
            given, drawn = workspace.session.input[0], workspace.session.outputs[0]
            np.subtract(anomaly_map, np.float32(self.settings.offset), out=given[0])
            np.divide(given[0], np.float32(self.settings.scale), out=given[0])
            if self.settings.picture:
                self.inner.write_input(frame, out=given[None, 1:], color_order=color_order)
            workspace.run()
            # NaN fails both comparisons; outside a region of interest the map is 0.
            if not (drawn.min() >= 0.0 and drawn.max() <= 1.0):
                raise BackendError(
                    "[infer] the refinement gave values outside [0, 1]. The frame counts as a "
                    "fault."
                )
            if self.input_info["regions_of_interest"]:
                drawn[0, 0][anomaly_map == self.inner.outside] = 0.0
            maps, maxima = scores.maps[n : n + 1], scores.map_maxima[n : n + 1]
            if self._smooth is not None:
                self._smooth.write(drawn[0], wide=workspace.wide, maps=maps, maxima=maxima)
            else:
                np.copyto(maps, drawn[0])
                maxima[0] = drawn.max()


class _Network:
    """Opens sessions of the refinement's network, as a backend does of an engine's."""

    def __init__(
        self,
        model: bytes,
        size: tuple[int, int],
        *,
        picture: bool,
        threads: int | None,
        spinning: bool,
    ) -> None:
        self._shape = (1, 4 if picture else 1, *size)
        self._session = open_session(
            model, threads=thread_count("onnxruntime", threads), spinning=spinning
        )
        self.session(1)  # refuses at open, not at the first frame, what does not run

    def session(self, batch: int) -> OnnxRuntimeSession:
        """A binding for one map.

        Raises:
            BackendError: if the network does not take such a map, or gives none.
        """
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        if [i.name for i in inputs] != [INPUT] or OUTPUT not in [o.name for o in outputs]:
            raise BackendError(
                f"[Runtime] expected a refinement network with the input '{INPUT}' and the output "
                f"'{OUTPUT}', got {', '.join(i.name for i in inputs)} and "
                f"{', '.join(o.name for o in outputs)}. Train the refinement again."
            )
        session = OnnxRuntimeSession(
            self._session, name=INPUT, shape=self._shape, outputs=(OUTPUT,)
        )
        expected = (1, 1, *self._shape[2:])
        if session.outputs[0].shape != expected:
            raise BackendError(
                f"[Runtime] expected a refined map of shape {expected}, got "
                f"{session.outputs[0].shape}. Train the refinement again."
            )
        return session
