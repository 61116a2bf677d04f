"""Pairs of feature maps to one map of their cosine distances, on a CUDA device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pyad_edge.ops._checks import whole_number, whole_sides
from pyad_edge.ops.cosine_distance_map import _factors, _levels
from pyad_edge.ops.cosine_distance_map import cosine_distance_map as on_cpu
from pyad_edge.ops.cuda.arrays import DeviceArray, DeviceView, as_device, result
from pyad_edge.ops.cuda.device import device_errors, require_device
from pyad_edge.ops.cuda.memory import output, tables_of, workspace_view

__all__ = ["cosine_distance_map", "cosine_distance_map_workspace"]

OP = "cosine_distance_map"
MAX_PAIRS = 16


def cosine_distance_map_workspace(
    N: int, grids: Sequence[tuple[int, int]], *, size: tuple[int, int]
) -> DeviceArray:
    """Device memory for :func:`cosine_distance_map`, to be used repeatedly.

    Args:
        N: pictures of a call, at most.
        grids: (h, w) of each pair.
        size: (H, W) of the map.

    Raises:
        BackendError: if there is no CUDA build or device, or not enough memory.
        TypeError: if ``N`` is no whole number.
        ValueError: if a number is out of range.
    """
    sides = [whole_sides(grid) for grid in (*grids, size)]
    if any(side is None or len(side) != 2 for side in sides):
        raise ValueError(
            f"[{OP}] expected grids as (h, w) and size as (H, W) in whole pixels, got "
            f"{list(grids)} and {size!r}."
        )
    N = whole_number(OP, "N", N, 0, 2**31 - 1)
    module = require_device()
    locations = sum(int(np.prod(side)) for side in sides[:-1] if side is not None)
    return DeviceArray((module.cosine_distance_map_workspace(N, locations, size[0]),), np.uint8)


def cosine_distance_map(
    encoder: Sequence[Any],
    decoder: Sequence[Any],
    *,
    size: tuple[int, int],
    sigma: float = 4.0,
    align_corners: bool = True,
    weights: Sequence[float] | None = None,
    channels_last: bool = False,
    out: tuple[Any, Any, Any] | None = None,
    workspace: Any = None,
    stream: int = 0,
) -> tuple[Any, Any, Any]:
    """CUDA form of :func:`pyad_edge.ops.cosine_distance_map`, with the same bits.

    With features on the device, ``out`` and ``workspace`` given, nothing is allocated and nothing
    waits for the device (but for the first call of a setting, which copies its weights).

    Args:
        encoder: one C-contiguous (N, C_k, h_k, w_k) float32 array per pair, at most 16, on the host
            or on the device. Features on the host have to be finite; on the device one that is not
            (or a squared norm beyond float32) makes its map's maximum and mean NaN.
        decoder: the same number of arrays, each of its partner's shape.
        size: (H, W) of the map, in pixels, each at most 16384.
        sigma: of the Gaussian, in pixels of the map, at most 256; 0 leaves the sum as it is.
        align_corners: as in ``torch.nn.functional.interpolate``.
        weights: of the pairs, 0 or from 1e-6 to 1e6; 1 each where left out.
        channels_last: whether the features are (N, h_k, w_k, C_k).
        out: (maps, maxima, means) on the device, float32 (N, H, W), (N,) and (N,), to write into.
        workspace: of :func:`cosine_distance_map_workspace`, for as many pictures or more.
        stream: cudaStream_t as an integer; 0 is the default stream.

    Returns:
        maps: (N, H, W); maxima: (N,); means: (N,), float32: ``out`` if it was given, else NumPy
        arrays where the first feature map is one, else DeviceArrays.

    Raises:
        BackendError: if there is no CUDA build or no device, or the device fails.
        TypeError: if an array is not float32.
        ValueError: if a shape or setting does not fit, or a feature on the host is not finite.
    """
    module = require_device()
    pairs = _checked(encoder, decoder, channels_last, stream)
    factors = _factors(weights, len(pairs))
    grids = [a.shape[1:3] if channels_last else a.shape[2:] for a, _ in pairs]
    (H, W), levels, bands = _levels(grids, size=size, sigma=sigma, align_corners=align_corners)
    N = pairs[0][0].shape[0]
    needed = int(
        module.cosine_distance_map_workspace(N, sum(int(np.prod(grid)) for grid in grids), H)
    )
    maker = f"cosine_distance_map_workspace({N}, {grids}, size={(H, W)})"
    room = workspace_view(OP, workspace, needed, maker, stream=stream)
    given = (None, None, None) if out is None else out
    shapes = ((N, H, W), (N,), (N,))
    written = [
        output(OP, f"out[{index}]", array, shape, stream=stream)
        for index, (array, shape) in enumerate(zip(given, shapes, strict=True))
    ]
    arguments = [
        (a.pointer, b.pointer, a.shape[3 if channels_last else 1], factor, level)
        for (a, b), factor, level in zip(pairs, factors, levels, strict=True)
    ]
    axes = [(rows, tables_of(rows), columns, tables_of(columns)) for rows, columns in bands]
    with device_errors(f"the map of {len(pairs)} pairs", f"Use pyad_edge.ops.{OP}."):
        module.cosine_distance_map(
            arguments,
            channels_last,
            axes,
            N,
            room.pointer,
            *(address for _, address in written),
            stream,
        )
    if out is not None:
        return out
    maps, maxima, means = (result(array, encoder[0], stream=stream) for array, _ in written)
    if isinstance(maxima, np.ndarray) and np.isnan(maxima).any():
        _refuse(encoder, decoder, channels_last)
    return maps, maxima, means


def _checked(
    encoder: Sequence[Any], decoder: Sequence[Any], channels_last: bool, stream: int
) -> list[tuple[DeviceView, DeviceView]]:
    """The pairs on the device, after all checks of types and shapes."""
    if len(encoder) != len(decoder) or not 1 <= len(encoder) <= MAX_PAIRS:
        raise ValueError(
            f"[{OP}] expected 1 to {MAX_PAIRS} pairs of feature maps, as many of the encoder as of "
            f"the decoder, got {len(encoder)} and {len(decoder)}."
        )
    shape = "(N, h, w, C)" if channels_last else "(N, C, h, w)"
    pairs: list[tuple[DeviceView, DeviceView]] = []
    for k, pair in enumerate(zip(encoder, decoder, strict=True)):
        a, b = (
            as_device(OP, f"the {name} map of pair {k}", f, np.float32, 4, shape, stream=stream)
            for name, f in zip(("encoder", "decoder"), pair, strict=True)
        )
        if 0 in a.shape[1:] or a.shape != b.shape:
            raise ValueError(
                f"[{OP}] expected both maps of pair {k} of one shape {shape}, no side of it 0, got "
                f"{a.shape} and {b.shape}."
            )
        if pairs and a.shape[0] != pairs[0][0].shape[0]:
            raise ValueError(
                f"[{OP}] expected pair {k} to hold {pairs[0][0].shape[0]} pictures, as pair 0 "
                f"does, got {a.shape[0]}."
            )
        pairs.append((a, b))
    return pairs


def _refuse(encoder: Sequence[Any], decoder: Sequence[Any], channels_last: bool) -> None:
    """Let the CPU form say where features, if all are on the host, break the limits."""
    if all(isinstance(features, np.ndarray) for features in (*encoder, *decoder)):
        order = (0, 3, 1, 2) if channels_last else (0, 1, 2, 3)
        on_cpu(*([f.transpose(order) for f in side] for side in (encoder, decoder)), size=(1, 1))
