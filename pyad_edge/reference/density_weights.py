"""Plain NumPy form of :mod:`pyad_edge.ops.density_weights`, in float64."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["density_weights"]


def density_weights(
    features: NDArray[np.float32], queue: NDArray[np.float32], *, beta: float
) -> NDArray[np.float64]:
    """Return (q,) ``-ln sum_j exp(beta cos(features[i], queue[j]))``."""
    exponents = beta * (_unit_rows(features) @ _unit_rows(queue).T)  # (q, Q)
    largest = exponents.max(axis=1, keepdims=True)
    density: NDArray[np.float64] = np.log(np.exp(exponents - largest).sum(axis=1)) + largest[:, 0]
    return -density


def _unit_rows(rows: NDArray[np.float32]) -> NDArray[np.float64]:
    """Rows of length 1; rows of zeros stay."""
    wide = rows.astype(np.float64)
    lengths = np.sqrt((wide * wide).sum(axis=1, keepdims=True))
    units: NDArray[np.float64] = np.divide(
        wide, lengths, out=np.zeros_like(wide), where=lengths > 0
    )
    return units
