"""Frame to scores: preprocess, backbone, head, anomaly map. One object calibrates and inspects."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pyad_edge.backends import Backend
from pyad_edge.engine_manifest import Preprocessing
from pyad_edge.errors import BackendError
from pyad_edge.heads.memory_bank import MemoryBankHead, PatchScores
from pyad_edge.ops import anomaly_map
from pyad_edge.preprocessing import check_frame, input_size, to_batch

__all__ = ["Pipeline", "Scores"]

Frame = NDArray[np.uint8]


@dataclass(frozen=True)
class Scores:
    """Raw scores of N frames, before any threshold.

    Attributes:
        patches: image, patch scores and nearest rows.
        maps: (N, H, W) float32 anomaly maps at the network's resolution.
        map_maxima: (N,) float32, the largest value of each.
        timings: milliseconds by stage, for the whole batch.
    """

    patches: PatchScores
    maps: NDArray[np.float32]
    map_maxima: NDArray[np.float32]
    timings: dict[str, float]


class Pipeline:
    """Scores frames. Thread-safe; keeps no state between calls.

    Args:
        preprocessing: how frames become the network's input.
        backend: runs the network.
        head: turns its outputs into scores.
        sigma: of the map's Gaussian, in pixels of the network's input.
    """

    def __init__(
        self,
        *,
        preprocessing: Preprocessing,
        backend: Backend,
        head: MemoryBankHead,
        sigma: float,
    ) -> None:
        self.preprocessing = preprocessing
        self.backend = backend
        self.head = head
        self.sigma = sigma
        self.input_size = input_size(preprocessing)

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
            check_frame(frame)
        start = time.perf_counter()
        batch = to_batch(frames, self.preprocessing, color_order=color_order)
        preprocessed = time.perf_counter()
        features = self.backend.run(batch)
        ran = time.perf_counter()
        try:
            patches = self.head.score(features)
        except ValueError as error:
            raise BackendError(
                f"[infer] the network's output cannot be scored: {error} The frame counts as a "
                "fault."
            ) from error
        scored = time.perf_counter()
        maps, maxima = anomaly_map(patches.patch, size=self.input_size, sigma=self.sigma)
        end = time.perf_counter()
        timings = {
            "preprocess": (preprocessed - start) * 1e3,
            "backbone": (ran - preprocessed) * 1e3,
            "head": (scored - ran) * 1e3,
            "map": (end - scored) * 1e3,
        }
        return Scores(patches, maps, maxima, timings)
