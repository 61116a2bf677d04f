"""The pipeline of engines that correlate a picture's patches with a reference: FOD."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pyad_edge.backends import Backend
from pyad_edge.cosine_pipeline import CosinePipeline
from pyad_edge.engine_manifest import CorrelationHead as HeadSettings
from pyad_edge.engine_manifest import Preprocessing
from pyad_edge.heads.correlation import CorrelationHead
from pyad_edge.pipeline import Pipeline
from pyad_edge.preprocessing import input_size

__all__ = ["CorrelationPipeline"]


class CorrelationPipeline(CosinePipeline):
    """Scores frames by reconstruction errors and correlations, as a cosine pipeline by distances.

    The network may run on a device; its outputs are correlated here, on the CPU.

    Args:
        preprocessing: how frames become the network's input.
        backend: runs the network.
        head: which outputs are read.
        keys: of each level's reference; None: an output of the network.
        sigma: of the map's Gaussian, in pixels of the network's input.
    """

    def __init__(
        self,
        *,
        preprocessing: Preprocessing,
        backend: Backend,
        head: HeadSettings,
        keys: Sequence[NDArray[np.float32] | None],
        sigma: float,
    ) -> None:
        size = input_size(preprocessing)
        Pipeline.__init__(
            self,
            preprocessing=preprocessing,
            backend=backend,
            head=CorrelationHead(head, keys, size=size, sigma=sigma),
            sigma=sigma,
        )
