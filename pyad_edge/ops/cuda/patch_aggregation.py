"""Feature maps of several levels to one descriptor per patch, on a CUDA device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pyad_edge.ops._banded import bilinear_upsample
from pyad_edge.ops.cuda.arrays import DeviceView, as_device, result
from pyad_edge.ops.cuda.device import device_errors, require_device
from pyad_edge.ops.cuda.memory import output, tables_of
from pyad_edge.ops.patch_aggregation import AggregationPlan, Variant

__all__ = ["patch_aggregation"]


def patch_aggregation(
    features: Sequence[Any],
    *,
    variant: Variant = "official",
    pre_dim: int | None = None,
    target_dim: int | None = None,
    out: Any = None,
    stream: int = 0,
) -> Any:
    """CUDA form of :func:`pyad_edge.ops.patch_aggregation`, with the same bits.

    With features on the device and ``out`` given, nothing is allocated and nothing waits for the
    device (but for the first call of a setting, which copies its weights).

    Args:
        features: one (N, C_l, h_l, w_l) float32 array per level, at most 8, the finest level first,
            on the host or on the device.
        variant: ``"official"``, ``"average"`` or ``"sum"``.
        pre_dim: descriptor length per level; only for ``"official"``.
        target_dim: length of the result; only for ``"official"``.
        out: C-contiguous float32 (N, h, w, D) on the device to write into.
        stream: cudaStream_t as an integer; 0 is the default stream.

    Returns:
        (N, h, w, D) float32 on the grid of the first level: ``out`` if it was given, else a NumPy
        array where the first level is one, else a DeviceArray.

    Raises:
        BackendError: if there is no CUDA build or no device, or the device fails.
        TypeError: if an array is not float32.
        ValueError: if a shape or setting does not fit.
    """
    module = require_device()
    levels = _checked(features, stream)
    plan = AggregationPlan(
        [level.shape[1] for level in levels],
        variant=variant,
        pre_dim=pre_dim,
        target_dim=target_dim,
    )
    N, _, h, w = levels[0].shape
    arguments = []
    for level in levels:
        h_l, w_l = level.shape[2:]
        axes: list[Any] = [None, 0, None, 0]
        if (h_l, w_l) != (h, w):
            rows, columns = bilinear_upsample(h_l, h), bilinear_upsample(w_l, w)
            axes = [rows, tables_of(rows), columns, tables_of(columns)]
        arguments.append((level.pointer, h_l, w_l, *axes))
    written, address = output("patch_aggregation", "out", out, (N, h, w, plan.dim), stream=stream)
    native_plan = plan._native
    with device_errors(
        f"the aggregation of {[level.shape for level in levels]} features",
        "Use pyad_edge.ops.patch_aggregation, which needs none.",
    ):
        module.patch_aggregation(native_plan, tables_of(native_plan), arguments, N, address, stream)
    return written if out is not None else result(written, features[0], stream=stream)


def _checked(features: Sequence[Any], stream: int) -> list[DeviceView]:
    """The feature maps on the device, after all checks."""
    if len(features) == 0:
        raise ValueError("[patch_aggregation] expected at least one level of features, got none.")
    levels: list[DeviceView] = []
    for index, level in enumerate(features):
        name = f"level {index}"
        view = as_device(
            "patch_aggregation", name, level, np.float32, 4, "(N, C, h, w)", stream=stream
        )
        if 0 in view.shape[1:] or (levels and view.shape[0] != levels[0].shape[0]):
            raise ValueError(
                f"[patch_aggregation] expected {name} of shape (N, C, h, w), no side of it 0 and N "
                f"as in level 0, got {view.shape}."
            )
        levels.append(view)
    return levels
