"""Leading principal directions of a memory bank, for its contraction (contraction.h).

They only decide how fast a search is, never what it finds: the native side bounds what any
orthonormal basis may lose.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["principal_basis"]

Array = NDArray[np.float32]

SAMPLE = 4096  # rows that the directions are taken from
ITERATIONS = 2
# Shares of the variance that were measured to balance the screen against the rows that it lets
# through: products in few bits cost less, so that more of them pay.
ENOUGH = 0.87
ENOUGH_IN_FEW_BITS = 0.9
TOO_LITTLE = 0.7  # a flatter spectrum lets too many rows through


def principal_basis(rows: Array, *, few_bits: bool = False) -> Array | None:
    """Directions to contract ``rows`` with, or None where that would not pay.

    Randomised subspace iteration (Halko, Martinsson & Tropp, "Finding structure with randomness",
    SIAM Review 2011, algorithm 4.4) on a sample, then as few directions as hold 87 or 90 % of the
    variance, mixed by a random rotation so that no coordinate is much larger than the others (which
    8 bits would represent badly). The image has one coordinate more than directions; together they
    fill whole panels of 32.

    Args:
        rows: (M, D) float32, finite.
        few_bits: whether the screen is int8 or bfloat16.

    Returns:
        (D, r) float32 with orthonormal columns, or None for short rows and flat spectra.
    """
    M, D = rows.shape
    if not 256 <= D <= 8192 or np.abs(rows).max() > 1e12:
        return None
    rng = np.random.default_rng(0)
    chosen = rows if M <= SAMPLE else rows[rng.choice(M, SAMPLE, replace=False)]
    sample = chosen - chosen.mean(axis=0, dtype=np.float64).astype(np.float32)
    variance = float(np.square(sample, dtype=np.float64).sum())
    if not variance > 1e-20:
        return None
    most = min(D // 3, 320)
    directions = rng.standard_normal((D, most), dtype=np.float32)
    for _ in range(ITERATIONS):
        directions = np.linalg.qr(sample.T @ (sample @ directions))[0]
    values, vectors = np.linalg.eigh(_gram(sample @ directions))
    held = np.cumsum(values[::-1]) / variance
    if held[-1] < TOO_LITTLE:
        return None
    r = int(np.searchsorted(held, ENOUGH_IN_FEW_BITS if few_bits else ENOUGH)) + 1
    r = min(-(-(r + 1) // 32) * 32, most // 32 * 32) - 1
    rotation = np.linalg.qr(rng.standard_normal((r, r)))[0]
    basis = directions.astype(np.float64) @ vectors[:, ::-1][:, :r] @ rotation
    result = np.ascontiguousarray(np.linalg.qr(basis)[0], np.float32)
    # A BLAS that breaks down (after a fork, say) costs the speed, not the search.
    return result if np.isfinite(result).all() else None


def _gram(images: Array) -> NDArray[np.float64]:
    wide = images.astype(np.float64)
    gram: NDArray[np.float64] = wide.T @ wide
    return gram
