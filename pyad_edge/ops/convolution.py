"""One convolution of pictures; the backend ``native`` runs whole networks of them."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pyad_edge.ops._native import native
from pyad_edge.ops.threads import num_threads

__all__ = ["convolution"]

Array = NDArray[np.float32]


def convolution(
    pictures: Array,
    weights: Array,
    bias: Array | None = None,
    *,
    stride: tuple[int, int] = (1, 1),
    padding: tuple[int, int, int, int] = (0, 0, 0, 0),
    clip: tuple[float, float] = (-np.inf, np.inf),
    form: Literal["automatic", "direct", "winograd"] = "automatic",
    precision: Literal["fp32", "bf16"] = "fp32",
) -> Array:
    """Convolve pictures of float32; equation, forms and rounding stand in ``pyad/convolution.h``.

    Weights are packed anew at every call: to run a network again and again, open it with
    ``open_backend("native", ...)``.

    Args:
        pictures: (N, C, H, W) float32.
        weights: (K, C, P, Q) float32, windows up to 64 by 64.
        bias: (K,) float32; none: zeros.
        stride: rows and columns from one window to the next, 1 to 16.
        padding: rows and columns of zeros: top, left, bottom, right; each less than the window.
        clip: lower and upper bound of the outputs; a NaN stays one.
        form: ``direct``; ``winograd``, for 3 by 3 windows at stride 1; ``automatic`` chooses.
        precision: of the factors; sums are float32. ``bf16`` needs AVX512_BF16, see
            :func:`pyad_edge.ops.has_bf16`.

    Returns:
        (N, K, h, w) float32.

    Raises:
        TypeError: if an array is not float32.
        ValueError: if shapes, stride, padding, bounds or form do not fit, or this processor or
            level has no products in bf16.
    """
    if precision not in ("fp32", "bf16"):
        raise ValueError(f"[convolution] expected the precision fp32 or bf16, got {precision!r}.")
    if bias is None:
        bias = np.zeros(len(weights), np.float32)
    for name, array, axes in (
        ("pictures", pictures, 4),
        ("weights", weights, 4),
        ("bias", bias, 1),
    ):
        if array.dtype != np.float32:
            raise TypeError(f"[convolution] expected {name} of float32, got {array.dtype}.")
        if array.ndim != axes or 0 in array.shape:
            raise ValueError(
                f"[convolution] expected {name} of {axes} axes, none empty, got {array.shape}."
            )
    if weights.shape[1] != pictures.shape[1] or len(bias) != len(weights):
        raise ValueError(
            "[convolution] expected weights (K, C, P, Q) and a bias (K,) that fit pictures "
            f"{pictures.shape}, got {weights.shape} and {bias.shape}."
        )
    if len(stride) != 2 or len(padding) != 4 or not clip[0] <= clip[1]:
        raise ValueError(
            "[convolution] expected two strides, four paddings and bounds in order, got "
            f"{stride}, {padding} and {clip}."
        )
    network = native.ConvolutionNetwork(*pictures.shape[1:], precision == "bf16")
    windows = (*weights.shape[2:], *stride, *padding)
    contiguous = np.ascontiguousarray
    tensor = network.convolution(0, contiguous(weights), contiguous(bias), windows, -1, *clip, form)
    out = np.empty((len(pictures), *network.shape(tensor)), np.float32)
    plan = native.ConvolutionPlan(network, [tensor], len(pictures), num_threads())
    plan.run(contiguous(pictures), [out])
    return out
