"""From searched patches to what a picture's score is made of, on a CUDA device."""

from __future__ import annotations

from typing import Any

import numpy as np

from pyad_edge.ops.cuda.arrays import DeviceView, as_device
from pyad_edge.ops.cuda.device import device_errors, require_device

__all__ = ["picture_scores"]

OP = "picture_scores"


def picture_scores(
    squared: Any,
    rows: Any,
    *,
    out: tuple[Any, Any, Any],
    patches: Any = None,
    bank: Any = None,
    neighborhoods: Any = None,
    valid: Any = None,
    stream: int = 0,
) -> None:
    """Roots, each picture's winner, and its distances to the neighbours of its nearest row.

    All arrays lie on the device; nothing is allocated and nothing waits. What equation 7 of Roth et
    al. 2022 needs is left in ``out``; its exponentials are the host's, whose bits the CPU has too.

    Args:
        squared: (N, P) float32 squared distances of the search; set to 0 where not valid.
        rows: (N, P) int64 bank rows that it found; set to -1 where not valid.
        out: distances (N, P) float32, roots of ``squared``; winners (N,) int64, the first valid
            patch with the largest distance, the first NaN where there is one, -1 where none is
            valid; around (N, k) float32, canonical squared distances of the winner to its nearest
            row's neighbours, NaN where it has no row; k may be 0.
        patches: (N * P, D) float32; not needed where k is 0, as the next two.
        bank: (M, D) float32.
        neighborhoods: (M, k) int64, the rows nearest to each bank row.
        valid: (N, P) uint8, 0 where a patch does not count; None: all do.
        stream: cudaStream_t as an integer; 0 is the default stream.

    Raises:
        BackendError: if there is no CUDA build or no device, or the device fails.
        TypeError: if an array is of the wrong type.
        ValueError: if a shape does not fit or an array is not writable on the device.
    """
    module = require_device()

    def view(name: str, value: Any, dtype: Any, shape: tuple[int | None, ...]) -> DeviceView:
        words = "(" + ", ".join("any" if side is None else str(side) for side in shape) + ")"
        found = as_device(
            OP, name, value, dtype, len(shape), words, stream=stream, written=name in _WRITTEN
        )
        if found.on_host:
            raise TypeError(f"[{OP}] expected {name} on the device, got a NumPy array.")
        if any(s not in (None, f) for s, f in zip(shape, found.shape, strict=True)):
            raise ValueError(f"[{OP}] expected {name} of shape {words}, got {found.shape}.")
        return found

    distance = view("squared", squared, np.float32, (None, None))
    N, P = distance.shape
    row = view("rows", rows, np.int64, (N, P))
    root = view("distances", out[0], np.float32, (N, P))
    winner = view("winners", out[1], np.int64, (N,))
    around = view("around", out[2], np.float32, (N, None))
    k = around.shape[1]
    counts = 0 if valid is None else view("valid", valid, np.uint8, (N, P)).pointer
    pointers, D = (0, 0, 0), 0
    if k:
        held = view("bank", bank, np.float32, (None, None))
        M, D = held.shape
        query = view("patches", patches, np.float32, (N * P, D))
        near = view("neighborhoods", neighborhoods, np.int64, (M, k))
        pointers = (query.pointer, held.pointer, near.pointer)
    with device_errors(
        f"scoring {N} pictures of {P} patches", "Use pyad_edge.heads, which needs no device."
    ):
        module.picture_scores(
            N=N,
            P=P,
            squared=distance.pointer,
            rows=row.pointer,
            valid=counts,
            distances=root.pointer,
            winners=winner.pointer,
            patches=pointers[0],
            bank=pointers[1],
            neighborhoods=pointers[2],
            around=around.pointer,
            D=D,
            k=k,
            stream=stream,
        )


_WRITTEN = ("squared", "rows", "distances", "winners", "around")
