"""Features of the training pictures: computed once and kept."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from pyad_edge.errors import DataError
from pyad_edge.export.methods.fod.backbone import Backbone
from pyad_edge.export.progress import ProgressCall, silent
from pyad_edge.export.training.pictures import PictureSource

__all__ = ["FeatureSource", "feature_bytes"]

CHUNK = 8


def feature_bytes(pictures: int, channels: Sequence[int], grids: Sequence[tuple[int, int]]) -> int:
    """What the features of all pictures take, float32."""
    one = sum(C * h * w for C, (h, w) in zip(channels, grids, strict=True))
    return 4 * pictures * one


class FeatureSource:
    """Features of every picture: (L_k, C_k) float32 of each level.

    The backbone is frozen, so they are the same in every step; it runs in float32.

    Args:
        backbone: on ``device``.
        source: pictures.
        device: of the backbone.
        progress: called with the stage ``features``.

    Raises:
        DataError: if a picture cannot be read or its features are not finite.
    """

    def __init__(
        self,
        backbone: Backbone,
        source: PictureSource,
        *,
        device: torch.device,
        progress: ProgressCall = silent,
    ) -> None:
        self.levels: list[NDArray[np.float32]] = []
        N = len(source)
        for start in range(0, N, CHUNK):
            stop = min(start + CHUNK, N)
            pictures = torch.from_numpy(source.batch(range(start, stop))).to(device)
            with torch.no_grad():
                found = [level.cpu().numpy() for level in backbone(pictures)]
            if not self.levels:
                self.levels = [np.empty((N, *f.shape[1:]), np.float32) for f in found]
            for whole, part in zip(self.levels, found, strict=True):
                if not np.isfinite(part).all():
                    raise DataError(
                        f"[fod] {backbone.name} gives features that are not finite for one of the "
                        f"pictures {start + 1} to {stop}. Are its weights sound?"
                    )
                whole[start:stop] = part
            progress("features", stop, N)

    def __len__(self) -> int:
        """How many pictures there are."""
        return len(self.levels[0])

    def batch(self, indices: NDArray[np.int64]) -> list[torch.Tensor]:
        """(N, L_k, C_k) of these pictures, new tensors on the CPU."""
        return [torch.from_numpy(level[indices]) for level in self.levels]
