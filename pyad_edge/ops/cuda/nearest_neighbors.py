"""Exact nearest neighbours on a CUDA device."""

from __future__ import annotations

from typing import Any

import numpy as np

from pyad_edge.ops._checks import whole_number
from pyad_edge.ops._native import native
from pyad_edge.ops.cuda.arrays import DeviceArray, as_device, result
from pyad_edge.ops.cuda.device import device_errors, require_device
from pyad_edge.ops.cuda.memory import workspace_view

__all__ = ["FORMS", "MAX_NEIGHBORS", "MemoryBank", "nearest_neighbors"]

OP = "nearest_neighbors"
MAX_NEIGHBORS = 16
FORMS = ("exact", "half_fused", "half_gemm", "bytes_fused", "bytes_gemm")
_MAX_ROWS = 2**31 - 129
_WAY_OUT = "Use pyad_edge.ops.nearest_neighbors, which needs none."


class MemoryBank:
    """A memory bank prepared for repeated searches on the current device.

    It holds its own copies: float32, halves and, if asked for, 8 bits. Searches give the bits of
    :class:`pyad_edge.ops.MemoryBank`, whatever ``form`` is used.

    Args:
        bank: (M, D) float32, on the host or on the device, M >= 1. It has to be finite; what is on
            the host is checked.
        int8: whether to keep the 8-bit copy, for the forms ``bytes_fused`` and ``bytes_gemm``.
        stream: cudaStream_t as an integer; 0 is the default stream. Making a bank waits for it.

    Raises:
        BackendError: if there is no CUDA build or no device, or the device fails.
        TypeError: if ``bank`` is not float32.
        ValueError: if its shape is wrong or a value on the host is not finite.
    """

    def __init__(self, bank: Any, *, int8: bool = False, stream: int = 0) -> None:
        self._module = require_device()
        rows = as_device(OP, "bank", bank, np.float32, 2, "(M, D)", stream=stream)
        M, D = rows.shape
        if M == 0 or D == 0:
            raise ValueError(f"[{OP}] expected bank of shape (M, D), got {rows.shape}.")
        if M > _MAX_ROWS:
            raise ValueError(
                f"[{OP}] expected a bank of at most {_MAX_ROWS} rows on a CUDA device, got {M}. "
                f"Subsample it. {_WAY_OUT}"
            )
        _require_finite("bank", bank)
        with device_errors(f"preparing a bank of {rows.shape}", _WAY_OUT):
            self._native = self._module.MemoryBank(rows.pointer, M, D, int8, stream)

    @property
    def size(self) -> int:
        """M, the number of rows."""
        return int(self._native.size)

    @property
    def dim(self) -> int:
        """D, the length of a row."""
        return int(self._native.dim)

    def workspace(self, Q: int, *, k: int = 1, form: str | None = None) -> DeviceArray:
        """Device memory for :meth:`search` with exactly Q queries, to be used repeatedly.

        Args:
            Q: queries of one search.
            k: neighbours per query.
            form: as in :meth:`search`.
        """
        k = self._checked_k(k)
        size = int(self._native.workspace_size(Q, k, self._form(form, Q)))
        return DeviceArray((size,), np.uint8)

    def search(
        self,
        queries: Any,
        *,
        k: int = 1,
        form: str | None = None,
        out: tuple[Any, Any] | None = None,
        workspace: Any = None,
        stream: int = 0,
    ) -> tuple[Any, Any]:
        """Find the ``k`` nearest rows of each query.

        With queries on the device, ``out`` and ``workspace`` given, nothing is allocated and
        nothing waits for the device.

        Args:
            queries: (Q, D) float32, on the host or on the device. On the host it has to be finite;
                on the device a query with a value that is not finite gets NaN and -1.
            k: neighbours per query, 1 <= k <= min(16, M).
            form: one of ``FORMS``; what the table csrc/cuda/search_choice.h names if not given.
            out: (distances, indices) on the device, float32 and int64 (Q, k), to write into.
            workspace: of :meth:`workspace`, for the same ``k`` and ``form``.
            stream: cudaStream_t as an integer; 0 is the default stream.

        Returns:
            distances: (Q, k) float32, ascending; indices: (Q, k) int64, ties by index. ``out`` if
            it was given, else NumPy arrays where ``queries`` is one, else DeviceArrays.

        Raises:
            BackendError: if the device fails.
            TypeError: if an array is of the wrong type or ``k`` no whole number.
            ValueError: if a shape, ``k``, ``form`` or a value on the host does not fit, or the bank
                lies on another device than the current one.
        """
        k = self._checked_k(k)
        view = as_device(OP, "queries", queries, np.float32, 2, "(Q, D)", stream=stream)
        if view.shape[1] != self.dim:
            raise ValueError(
                f"[{OP}] expected queries of shape (Q, {self.dim}) to match the bank "
                f"({self.size}, {self.dim}), got {view.shape}. Was the bank built with another "
                "backbone or embedding?"
            )
        _require_finite("queries", queries)
        Q = view.shape[0]
        chosen = self._form(form, Q)
        needed = int(self._native.workspace_size(Q, k, chosen)) if Q else 0
        maker = f"MemoryBank.workspace({Q}, k={k})"
        room = workspace_view(OP, workspace, needed, maker, stream=stream)
        made = out or (DeviceArray((Q, k), np.float32), DeviceArray((Q, k), np.int64))
        types = (("distances", np.float32), ("indices", np.int64))
        views = [
            as_device(OP, name, array, dtype, 2, "(Q, k)", stream=stream, written=True)
            for (name, dtype), array in zip(types, made, strict=True)
        ]
        for (name, _), written in zip(types, views, strict=True):
            if written.shape != (Q, k):
                raise ValueError(f"[{OP}] expected {name} of shape {(Q, k)}, got {written.shape}.")
        with device_errors(
            f"the search of {view.shape} queries in a bank of ({self.size}, {self.dim})", _WAY_OUT
        ):
            self._native.search(
                view.pointer,
                Q,
                k,
                chosen,
                room.pointer,
                views[0].pointer,
                views[1].pointer,
                stream,
            )
        if out is not None:
            return out
        distances, indices = made
        return (
            result(distances, queries, stream=stream),
            result(indices, queries, stream=stream),
        )

    def _checked_k(self, k: Any) -> int:
        what = " (rows of the bank; 16 on a CUDA device)"
        return whole_number(OP, "k", k, 1, min(MAX_NEIGHBORS, self.size), what=what)

    def _form(self, form: str | None, Q: int) -> Any:
        if form is None:
            return self._native.choose(Q)
        if form not in FORMS:
            raise ValueError(f"[{OP}] expected form as one of {', '.join(FORMS)}, got {form!r}.")
        if form.startswith("bytes") and not self._native.has_bytes and self._native.screened:
            raise ValueError(
                f"[{OP}] form {form!r} needs the 8-bit copy. Make the bank with int8=True."
            )
        chosen = form if self._native.screened else "exact"  # values beyond the screen's limit
        return getattr(self._module.SearchForm, chosen)


def nearest_neighbors(queries: Any, bank: Any, *, k: int = 1, stream: int = 0) -> tuple[Any, Any]:
    """Find the ``k`` nearest bank rows of each query; see :meth:`MemoryBank.search`.

    Args:
        queries: (Q, D) float32, on the host or on the device.
        bank: (M, D) float32, on the host or on the device.
        k: neighbours per query, 1 <= k <= min(16, M).
        stream: cudaStream_t as an integer; 0 is the default stream.

    Returns:
        ``(distances, indices)``: (Q, k) float32 squared distances and (Q, k) int64 rows; NumPy
        arrays where ``queries`` is one, else DeviceArrays.

    Raises:
        BackendError: if there is no CUDA build or no device, or the device fails.
        TypeError: if an array is not float32 or ``k`` no whole number.
        ValueError: if a shape, ``k`` or a value on the host does not fit.
    """
    return MemoryBank(bank, stream=stream).search(queries, k=k, stream=stream)


def _require_finite(name: str, values: Any) -> None:
    if isinstance(values, np.ndarray) and not native.all_finite(np.ascontiguousarray(values)):
        row = int(np.flatnonzero(~np.isfinite(values).all(axis=1))[0])
        raise ValueError(
            f"[{OP}] {name} contains NaN or infinity (first in row {row}). A backbone that "
            "overflows, or a broken picture, gives such features; they are never scored."
        )
