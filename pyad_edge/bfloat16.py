"""Features as a network in bf16 leaves them: (N, C, h, w) uint16, channels last in memory.

NumPy has no bfloat16. Each uint16 is the upper half of a float32's bits.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["channels_last", "holds_bfloat16", "is_channels_last", "widened"]


def holds_bfloat16(features: NDArray[Any]) -> bool:
    """Whether an array of features holds bfloat16, by its type."""
    return features.dtype == np.uint16


def is_channels_last(features: NDArray[Any]) -> bool:
    """Whether (N, C, h, w) lies in memory as (N, h, w, C) without gaps."""
    return bool(features.transpose(0, 2, 3, 1).flags.c_contiguous)


def channels_last(features: NDArray[Any]) -> NDArray[Any]:
    """The same (N, C, h, w), channels last in memory; a copy only where they are not."""
    last: NDArray[Any] = np.ascontiguousarray(features.transpose(0, 2, 3, 1))
    return np.asarray(last.transpose(0, 3, 1, 2))


def widened(features: NDArray[Any]) -> NDArray[np.float32]:
    """Exactly the same numbers in float32, C-contiguous; float32 is given back as it is.

    Args:
        features: (N, C, h, w) float32, or uint16 that holds bfloat16.
    """
    if not holds_bfloat16(features):
        return features
    bits = np.ascontiguousarray(features).astype(np.uint32) << np.uint32(16)
    return np.asarray(bits, np.uint32).view(np.float32)
