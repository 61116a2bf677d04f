"""GRAD's density weights (Dai et al. 2024, equations 1 and 2), as logarithms."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pyad_edge.ops._checks import finite_number
from pyad_edge.ops._native import native

__all__ = ["MAX_BETA", "MAX_DIM", "density_weights"]

Array = NDArray[np.float32]

MAX_BETA = 1000.0
MAX_DIM = 65536


def density_weights(features: Array, queue: Array, *, beta: float) -> Array:
    """Weigh features by how rare they are among the features of earlier steps.

    Equivalent to ``-logsumexp(beta * cosine(features, queue), axis=1)``, without the (q, Q)
    matrix: memory grows with q + Q. Equation 1 (fake anomalies) is negative features against the
    queue of positive ones, equation 2 (long tails) each class against its own queue. The weights
    of equations 3 and 4, normalised to 1, are ``softmax(log_tail + log_noisy)``.

    Rows are normalised here, so a queue may hold raw or normalised features; a row of zeros has
    cosine 0 with everything. Cosines are taken in 16-bit fixed point (see
    ``csrc/include/pyad/density_weights.h``): the result is within ``beta * sqrt(D) / 32512`` of
    the exact one, and has the same bits for every thread count, batch split and instruction set.

    Args:
        features: (q, D) float32, finite.
        queue: (Q, D) float32, finite, Q >= 1.
        beta: of the exponent, 0 < beta <= 1000; the larger, the narrower the kernel.

    Returns:
        (q,) float32, the logarithms of the weights.

    Raises:
        TypeError: if an array is not float32.
        ValueError: if a shape, ``beta`` or a value does not fit.
    """
    beta = checked_beta(beta)
    features, queue = _matrix("features", features), _matrix("queue", queue)
    check_shapes(features.shape, queue.shape)
    log_weights = np.empty(len(features), np.float32)
    if not native.density_weights(features, queue, beta, log_weights):
        for name, values in (("features", features), ("queue", queue)):
            bad = np.flatnonzero(~np.isfinite(values).all(axis=1))
            if len(bad):
                raise ValueError(
                    f"[density_weights] {name} contains NaN or infinity (first in row {bad[0]}). "
                    "A training step that diverged gives such features: lower the learning rate."
                )
    return log_weights


def checked_beta(beta: float) -> float:
    """``beta`` as a float.

    Raises:
        ValueError: if it is no number above 0 and up to 1000.
    """
    if not (finite_number(beta) and 0.0 < beta <= MAX_BETA):
        raise ValueError(f"[density_weights] expected 0 < beta <= {MAX_BETA:g}, got {beta!r}.")
    return float(beta)


def check_shapes(features: tuple[int, ...], queue: tuple[int, ...]) -> None:
    """Check that two matrices belong together.

    Raises:
        ValueError: if they do not.
    """
    if len(features) != 2 or not 1 <= features[1] <= MAX_DIM:
        raise ValueError(
            f"[density_weights] expected features of shape (q, D), D from 1 to {MAX_DIM}, got "
            f"{features}."
        )
    if len(queue) != 2 or queue[0] == 0 or queue[1] != features[1]:
        raise ValueError(
            f"[density_weights] expected queue of shape (Q, {features[1]}) with Q >= 1 to match "
            f"features {features}, got {queue}. An empty queue has no density: fill it first."
        )


def _matrix(name: str, values: Array) -> Array:
    if not isinstance(values, np.ndarray) or values.dtype != np.float32:
        found = getattr(values, "dtype", type(values).__name__)
        raise TypeError(
            f"[density_weights] expected {name} as a float32 array, got {found}. Convert it with "
            ".astype(numpy.float32)."
        )
    return np.ascontiguousarray(values)
