"""Frame to scores: preprocess, backbone, head, anomaly map. One object calibrates and inspects."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pyad_edge.backends import Backend
from pyad_edge.buffers import ArrayPool
from pyad_edge.engine_manifest import Preprocessing
from pyad_edge.errors import BackendError
from pyad_edge.frames import plain_rgb
from pyad_edge.heads.decide import Certifier, PatchDecision
from pyad_edge.heads.patch_scores import PatchScores
from pyad_edge.ops import MapPlan, PreprocessPlan, cpu_level, num_threads
from pyad_edge.preprocessing import check_frame, input_size, map_box
from pyad_edge.workspace import Workspace, WorkspacePool

__all__ = ["Pipeline", "Scores", "unscorable"]

Frame = NDArray[np.uint8]


@dataclass(frozen=True)
class Scores:
    """Raw scores of N frames, before any threshold. The arrays belong to whoever holds them.

    Attributes:
        image: (N,) float32, the score of each picture.
        maps: (N, H, W) float32 anomaly maps at the network's resolution.
        map_maxima: (N,) float32, the largest value of each.
        patches: patch scores and nearest rows; None where there is no memory bank to speak of.
        timings: milliseconds by stage, for the whole batch.
    """

    image: NDArray[np.float32]
    maps: NDArray[np.float32]
    map_maxima: NDArray[np.float32]
    patches: PatchScores | None
    timings: dict[str, float]

    @property
    def of_patches(self) -> PatchScores:
        """The patch scores.

        Raises:
            TypeError: if there is no memory bank that they would speak of.
        """
        if self.patches is None:
            raise TypeError("[Scores] these scores come without a memory bank, so without patches.")
        return self.patches


class Pipeline:
    """Scores frames. Thread-safe; after the first frames it allocates no memory for data.

    A call borrows a workspace (the network's bound memory and scratch) and takes its results'
    arrays from a pool, see :mod:`pyad_edge.buffers`. Both grow only where more calls run at once,
    or more results are held, than ever before.

    Args:
        preprocessing: how frames become the network's input.
        backend: runs the network.
        head: turns its outputs into scores; of subclasses one of their own.
        sigma: of the map's Gaussian, in pixels of the network's input.
        positions: (M, 2) row and column of the patch that each bank row was, for :meth:`decide`;
            without them it searches every patch.

    Attributes:
        one_by_one: whether a batch is better scored frame by frame.
        outside: value of maps where a region of interest leaves the frame out.
    """

    one_by_one = False
    outside = np.float32(0.0)

    def __init__(
        self,
        *,
        preprocessing: Preprocessing,
        backend: Backend,
        head: Any,
        sigma: float,
        positions: NDArray[np.integer] | None = None,
    ) -> None:
        self.preprocessing = preprocessing
        self.backend = backend
        self.head = head
        self.sigma = sigma
        self._positions = positions
        self._certifier: Certifier | None = None
        self._certifying = threading.Lock()
        self.input_size = input_size(preprocessing)
        self._preprocess = PreprocessPlan(
            resize=preprocessing.resize,
            mean=preprocessing.mean,
            std=preprocessing.std,
            crop=preprocessing.crop,
        )
        self.buffers = ArrayPool()
        self._workspaces = WorkspacePool(backend)
        self._map = MapPlan(self.input_size, sigma=sigma)

    def check(self, frame: Frame) -> None:
        """Refuse what is not a frame.

        Raises:
            DataError: if the type, shape or size cannot be inspected.
        """
        check_frame(frame)

    @property
    def own(self) -> Pipeline:
        """The pipeline that the engine's golden frames were scored with."""
        return self

    @property
    def kernels(self) -> dict[str, Any]:
        """Where everything but the network runs, as plain data."""
        return {"device": "cpu", "level": cpu_level(), "threads": num_threads()}

    @property
    def input_info(self) -> dict[str, Any]:
        """What frames it takes, as plain data."""
        return {"pixel_format": None, "size_policy": "resize", "regions_of_interest": 0}

    def show(self, frame: Frame, *, color_order: Literal["rgb", "bgr"] | None = None) -> Frame:
        """The frame as (H, W, 3) uint8 RGB, for people.

        Raises:
            DataError: as :meth:`check`.
        """
        self.check(frame)
        return plain_rgb(frame, color_order or self.preprocessing.color_order)

    def map_box(self, frame_size: tuple[int, int]) -> tuple[float, float, float, float]:
        """The part of a frame (H, W) that its map covers: (x, y, width, height) in its pixels."""
        return map_box(frame_size, self.preprocessing)

    def write_input(
        self,
        frame: Frame,
        *,
        out: NDArray[np.float32],
        run: int = 0,
        color_order: Literal["rgb", "bgr"] | None = None,
    ) -> None:
        """A frame as the network sees it, for whoever looks at the network alone.

        Args:
            frame: as :meth:`score` takes it.
            out: (1, 3, H, W) float32, written.
            run: which of the network's runs for this frame, modulo their number.
            color_order: as for :meth:`score`.

        Raises:
            DataError: as :meth:`check`.
        """
        self.check(frame)
        self._preprocess.run(
            frame, color_order=color_order or self.preprocessing.color_order, out=out
        )

    def network_runs(self, frame_size: tuple[int, int]) -> int:
        """How often the network runs for a frame of (H, W) pixels."""
        return 1

    def score(
        self, frames: Sequence[Frame], *, color_order: Literal["rgb", "bgr"] | None = None
    ) -> Scores:
        """Score frames of any sizes, each (H, W), (H, W, 1) or (H, W, 3) uint8.

        Args:
            frames: at least one.
            color_order: of these frames, where it is not that of ``preprocessing``.

        Raises:
            DataError: if a frame's type or shape does not fit.
            BackendError: if the network fails or gives values that are not finite.
        """
        for frame in frames:
            self.check(frame)
        with self._workspaces.borrow(len(frames)) as workspace:
            start = time.perf_counter()
            for n, frame in enumerate(frames):
                self._preprocess.run(
                    frame,
                    color_order=color_order or self.preprocessing.color_order,
                    out=workspace.session.input[n : n + 1],
                )
            preprocessed = time.perf_counter()
            workspace.run()
            ran = time.perf_counter()
            timings = {
                "preprocess": (preprocessed - start) * 1e3,
                "backbone": (ran - preprocessed) * 1e3,
            }
            return self._finish(workspace, timings)

    def _finish(self, workspace: Workspace, timings: dict[str, float]) -> Scores:
        """The network's outputs as scores; the stages' times are added to ``timings``."""
        start = time.perf_counter()
        patches, maps, maxima = self._result_arrays(workspace)
        with unscorable("infer"):
            self.head.score(workspace.session.outputs, out=patches)
        scored = time.perf_counter()
        self._map.write(patches.patch, wide=workspace.wide, maps=maps, maxima=maxima)
        timings["head"] = (scored - start) * 1e3
        timings["map"] = (time.perf_counter() - scored) * 1e3
        return Scores(patches.image, maps, maxima, patches, timings)

    def decide(
        self,
        frame: Frame,
        *,
        limit: float,
        review: float | None = None,
        score: bool = False,
        color_order: Literal["rgb", "bgr"] | None = None,
    ) -> tuple[PatchDecision, dict[str, float]]:
        """The verdict of one frame's score, with the search that it takes and no map.

        The first call prepares the bank for it, see :class:`~pyad_edge.heads.decide.Certifier`.

        Args:
            frame: (H, W), (H, W, 1) or (H, W, 3) uint8.
            limit: NG above it.
            review: REVIEW above it, up to ``limit``.
            score: whether the exact score is wanted in any case.
            color_order: of this frame, where it is not that of ``preprocessing``.

        Returns:
            The decision, and milliseconds by stage.

        Raises:
            DataError, BackendError: as :meth:`score`.
        """
        self.check(frame)
        with self._workspaces.borrow(1) as workspace:
            start = time.perf_counter()
            self._preprocess.run(
                frame,
                color_order=color_order or self.preprocessing.color_order,
                out=workspace.session.input,
            )
            preprocessed = time.perf_counter()
            workspace.run()
            ran = time.perf_counter()
            certifier = self._certifier or self._prepare_certifier(workspace.grid)
            with unscorable("decide"):
                decision = certifier.decide(
                    workspace.session.outputs, limit=limit, review=review, score=score
                )
            end = time.perf_counter()
        timings = {
            "preprocess": (preprocessed - start) * 1e3,
            "backbone": (ran - preprocessed) * 1e3,
            "head": (end - ran) * 1e3,
        }
        return decision, timings

    def _prepare_certifier(self, grid: tuple[int, int]) -> Certifier:
        with self._certifying:
            if self._certifier is None:
                self._certifier = Certifier(self.head, self._positions, grid)
            return self._certifier

    def _result_arrays(
        self, workspace: Workspace
    ) -> tuple[PatchScores, NDArray[np.float32], NDArray[np.float32]]:
        N = len(workspace.session.input)
        grid = (N, *workspace.grid)
        squared = self.head.settings.scoring == "maximum"
        image, patch, rows, distances, maps, maxima = self.buffers.take(
            ((N,), np.float32),
            (grid if squared else (0,), np.float32),
            (grid, np.int64),
            (grid, np.float32),
            ((N, *self.input_size), np.float32),
            ((N,), np.float32),
        )
        return PatchScores(image, patch if squared else distances, rows, distances), maps, maxima


@contextmanager
def unscorable(what: str) -> Iterator[None]:
    """What a head refuses is a fault of the frame; ``what`` names the operation."""
    try:
        yield
    except ValueError as error:
        raise BackendError(
            f"[{what}] the network's output cannot be scored: {error} The frame counts as a fault."
        ) from error
