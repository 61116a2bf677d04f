"""Plain NumPy form of :mod:`pyad_edge.ops.preprocess`: one dense float64 matrix per axis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ["preprocess"]


def preprocess(
    image: NDArray[np.uint8],
    *,
    resize: int | tuple[int, int],
    mean: Sequence[float],
    std: Sequence[float],
    crop: tuple[int, int] | None = None,
    color_order: Literal["rgb", "bgr"] = "rgb",
    out: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """Return (N, 3, h, w): resize everything, crop, then normalise."""
    frames = image
    if image.ndim == 2:
        frames = image[None, :, :, None]
    elif image.ndim == 3:
        frames = image[None]
    _, H, W, C = frames.shape
    if isinstance(resize, int):
        short = min(H, W)
        h, w = (int(resize * side / short) if side != short else resize for side in (H, W))
    else:
        h, w = resize
    resized = np.einsum("xj,nijc->ncix", _triangles(W, w), frames / 255.0, optimize=True)
    resized = np.einsum("yi,ncix->ncyx", _triangles(H, h), resized, optimize=True)
    if crop is not None:
        top, left = round((h - crop[0]) / 2), round((w - crop[1]) / 2)
        resized = resized[:, :, top : top + crop[0], left : left + crop[1]]
    if C == 3 and color_order == "bgr":
        resized = resized[:, ::-1]
    means, stds = (np.reshape(values, (3, 1, 1)) for values in (mean, std))
    result: NDArray[np.float32] = ((resized - means) / stds).astype(np.float32)
    if out is None:
        return result
    out[...] = result
    return out


def _triangles(size: int, new_size: int) -> NDArray[np.float64]:
    """(new_size, size): a normalised triangle around each output's centre, wider when shrinking."""
    scale = size / new_size
    centres = (np.arange(new_size)[:, None] + 0.5) * scale
    distances = np.abs(np.arange(size) + 0.5 - centres) / max(scale, 1.0)
    matrix: NDArray[np.float64] = np.maximum(0.0, 1.0 - distances)
    matrix /= matrix.sum(axis=1, keepdims=True)
    return matrix
