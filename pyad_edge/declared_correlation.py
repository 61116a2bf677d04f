"""The pipeline of engines that declare their input and correlate patches: FOD."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pyad_edge.backends import Backend
from pyad_edge.declared_cosine import DeclaredCosinePipeline
from pyad_edge.declared_pipeline import DeclaredPipeline
from pyad_edge.engine_manifest import CorrelationHead as HeadSettings
from pyad_edge.engine_manifest import Preprocessing
from pyad_edge.errors import SettingError
from pyad_edge.feeder import DeclaredInput
from pyad_edge.heads.correlation import CorrelationHead
from pyad_edge.pipeline import Pipeline
from pyad_edge.preprocessing import input_size

__all__ = ["DeclaredCorrelationPipeline"]


class DeclaredCorrelationPipeline(DeclaredCosinePipeline):
    """Scores frames of a declared format, one by one; thread-safe.

    Where the map is outside of the region of interest, or of the frame, it is 0; the softmax runs
    over all patches all the same. The picture's score is the maximum of the rest.

    Args:
        preprocessing, backend, sigma, declared, grid, own: as for :class:`DeclaredPipeline`.
        head: which outputs are read.
        keys: of each level's reference; None: an output of the network.

    Raises:
        SettingError: if frames are to be cut into tiles.
    """

    def __init__(
        self,
        *,
        preprocessing: Preprocessing,
        backend: Backend,
        head: HeadSettings,
        keys: Sequence[NDArray[np.float32] | None],
        sigma: float,
        declared: DeclaredInput,
        grid: tuple[int, int],
        own: Pipeline | None = None,
    ) -> None:
        if declared.policy == "tile":
            raise SettingError(
                "[Runtime] engines of correlations take no tiled frames: patches are correlated "
                "over the whole picture. Train with --size-policy resize or letterbox, or a memory "
                "bank."
            )
        DeclaredPipeline.__init__(
            self,
            preprocessing=preprocessing,
            backend=backend,
            head=CorrelationHead(head, keys, size=input_size(preprocessing), sigma=sigma),
            sigma=sigma,
            declared=declared,
            grid=grid,
            own=own,
        )
