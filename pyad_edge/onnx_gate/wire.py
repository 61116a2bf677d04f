"""Protobuf's wire format, strictly: no group, no overlong number, nothing past the end.

https://protobuf.dev/programming-guides/encoding. Lengths are compared with what is left before they
are used; payloads are ranges of the file, so gigabytes of weights cost nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

from pyad_edge.onnx_gate.errors import GateError
from pyad_edge.onnx_gate.limits import MAX_FIELDS

__all__ = ["FIXED32", "FIXED64", "LENGTH", "VARINT", "Wire", "signed"]

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5
_WIDTHS = {FIXED64: 8, FIXED32: 4}


class Wire:
    """A file being read; it ends after a fixed number of fields, whatever they are.

    Args:
        data: the whole file, one byte per element.
    """

    def __init__(self, data: memoryview) -> None:
        self.data = data
        self._left = MAX_FIELDS

    def fields(self, start: int, end: int) -> Iterator[tuple[int, int, int, int]]:
        """Fields of the message in ``data[start:end]``.

        Yields:
            (number, wire type, a, b): of a VARINT its value, unsigned 64 bits, in ``a``; of every
            other type the payload is ``data[a:b]``.

        Raises:
            GateError: if the bytes are no message.
        """
        data = self.data
        at = start
        while at < end:
            self._left -= 1
            if self._left < 0:
                raise GateError(f"it has more than {MAX_FIELDS:,} fields")
            key = data[at]
            at += 1
            if key > 127:
                key, at = self.varint(at - 1, end)
            number, kind = key >> 3, key & 7
            if number == 0 or key >> 32:
                raise GateError("a field has an impossible number")
            if kind in (VARINT, LENGTH):
                if at < end and data[at] < 128:  # as most are: one byte
                    size = data[at]
                    at += 1
                else:
                    size, at = self.varint(at, end)
                if kind == VARINT:
                    yield number, kind, size, at
                    continue
            elif kind in _WIDTHS:
                size = _WIDTHS[kind]
            else:
                raise GateError(f"a field has the wire type {kind}, which ONNX does not use")
            if size > end - at:
                raise GateError("a field is longer than what is left of the file")
            yield number, kind, at, at + size
            at += size

    def varint(self, at: int, end: int) -> tuple[int, int]:
        """An unsigned number of up to 64 bits, in its shortest form, and where it ends."""
        value = shift = 0
        while True:
            if at >= end:
                raise GateError("it is cut off inside a number")
            byte = self.data[at]
            at += 1
            value |= (byte & 127) << shift
            if byte < 128:
                break
            shift += 7
            if shift > 63:
                raise GateError("a number is longer than 64 bits")
        if value >> 64 or (byte == 0 and shift):
            raise GateError("a number is longer than it needs to be")
        return value, at


def signed(value: int, bits: int) -> int:
    """The two's complement of a 64-bit varint, which must fit into so many bits.

    Protobuf's own readers cut off what does not fit, so a number could mean two things.
    """
    number = value - (1 << 64) if value >> 63 else value
    if not -(1 << (bits - 1)) <= number < 1 << (bits - 1):
        raise GateError(f"a number of {bits} bits has the value {number}")
    return number
