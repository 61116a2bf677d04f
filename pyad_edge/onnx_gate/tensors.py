"""Weights of a network: where their bytes lie, whether there are as many as their shape says."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyad_edge.onnx_gate.errors import GateError
from pyad_edge.onnx_gate.limits import MAX_FOLDED, MAX_RANK, MAX_WEIGHT_BYTES
from pyad_edge.onnx_gate.schema import Message
from pyad_edge.onnx_gate.wire import Wire, signed

__all__ = ["DTYPES", "Tensor", "read_tensor"]

# TensorProto.DataType: NumPy's dtype. bfloat16, which NumPy lacks, is its bits.
_BFLOAT16 = 16
DTYPES: dict[int, np.dtype[Any]] = {
    number: np.dtype(name).newbyteorder("<")
    for number, name in {
        1: "float32",
        2: "uint8",
        3: "int8",
        4: "uint16",
        5: "int16",
        6: "int32",
        7: "int64",
        9: "bool",
        10: "float16",
        11: "float64",
        12: "uint32",
        13: "uint64",
        _BFLOAT16: "uint16",
    }.items()
}
# Field that may hold the numbers instead of raw_data, by data type; the rest must be raw.
_TYPED = {
    **dict.fromkeys((2, 3, 4, 5, 6, 9), "int32_data"),
    **dict.fromkeys((12, 13), "uint64_data"),
    1: "float_data",
    7: "int64_data",
    11: "double_data",
}
_DATA = ("raw_data", "float_data", "int32_data", "int64_data", "double_data", "uint64_data")


@dataclass(frozen=True, eq=False)
class Tensor:
    """Weights, or a constant.

    Attributes:
        name: its value's name; may be empty in an attribute.
        dtype: of its numbers.
        shape: sides; () is a scalar, a 0 among them no number at all.
        values: the numbers, in that shape, where there are at most MAX_FOLDED of them.
    """

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    values: NDArray[Any] | None


def read_tensor(wire: Wire, message: Message) -> Tensor:
    """Checks one TensorProto.

    Raises:
        GateError: if its type, shape and bytes do not fit each other, its bytes lie in another
            file, or it holds NaN or infinity.
    """
    name = message.get("name", "")
    title = f"its tensor '{name}'"
    if message.get("data_location", 0) != 0:
        raise GateError("it keeps weights in another file")
    kind = message.get("data_type", 0)
    dtype = DTYPES.get(kind)
    if dtype is None:
        raise GateError(f"{title} has the data type {kind}, which is not known here")
    shape = tuple(message.get("dims", ()))
    if len(shape) > MAX_RANK or any(side < 0 for side in shape):
        raise GateError(f"{title} has the impossible shape {shape[: MAX_RANK + 1]}")
    count = math.prod(shape)
    if count * dtype.itemsize > MAX_WEIGHT_BYTES:
        raise GateError(f"{title} takes more than {MAX_WEIGHT_BYTES:,} bytes")
    fields = [field for field in _DATA if field in message]
    if not fields and count == 0:
        return Tensor(name, dtype, shape, np.zeros(shape, dtype))
    if len(fields) != 1 or fields[0] not in ("raw_data", _TYPED.get(kind)):
        raise GateError(f"{title} has its numbers in {' and '.join(fields) or 'no field'}")
    start, end = message[fields[0]]
    raw = np.frombuffer(wire.data[start:end], np.uint8)
    if fields[0] in ("raw_data", "float_data", "double_data"):
        found, rest = divmod(len(raw), dtype.itemsize)
        fits = found == count and not rest
        values = raw.view(dtype) if fits else None
    else:
        found = int(np.count_nonzero(raw < 128))  # each varint ends in such a byte
        fits = found == count and (count == 0 or raw[-1] < 128)
        values = _varints(wire, start, end, dtype, title) if fits and count <= MAX_FOLDED else None
    if not fits:
        raise GateError(f"{title} of shape {shape} needs {count:,} numbers, but has {found:,}")
    if values is not None and not _finite(values, kind):
        raise GateError(f"{title} holds NaN or infinity")
    small = values is not None and count <= MAX_FOLDED and kind != _BFLOAT16
    return Tensor(
        name, dtype, shape, values.reshape(shape) if small and values is not None else None
    )


def _varints(wire: Wire, at: int, end: int, dtype: np.dtype[Any], title: str) -> NDArray[Any]:
    """Few numbers, each a varint, within the range of their type."""
    numbers = []
    while at < end:
        value, at = wire.varint(at, end)
        numbers.append(value if dtype.kind == "u" and dtype.itemsize >= 4 else signed(value, 64))
    lowest, highest = (0, 1) if dtype.kind == "b" else _range(dtype)
    if any(not lowest <= number <= highest for number in numbers):
        raise GateError(f"{title} holds numbers beyond its type {dtype.name}")
    return np.array(numbers, dtype)


def _range(dtype: np.dtype[Any]) -> tuple[int, int]:
    about = np.iinfo(dtype)
    return int(about.min), int(about.max)


def _finite(values: NDArray[Any], kind: int) -> bool:
    if kind == _BFLOAT16:
        return bool(((values & 0x7F80) != 0x7F80).all())
    return values.dtype.kind != "f" or bool(np.isfinite(values).all())
