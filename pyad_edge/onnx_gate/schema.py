"""The messages of ONNX that a network may use, and how their fields are read.

https://github.com/onnx/onnx/blob/main/onnx/onnx.proto. What is not in these tables is refused.
A field that may come once and comes twice is refused too: protobuf would merge the two.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from pyad_edge.onnx_gate.errors import GateError
from pyad_edge.onnx_gate.limits import MAX_NAME_BYTES, MAX_TEXT_BYTES
from pyad_edge.onnx_gate.wire import FIXED32, LENGTH, VARINT, Wire, signed

__all__ = ["Message", "read_message"]

Message = dict[str, Any]

_INT64, _INT32, _FLOAT, _NAME, _TEXT, _BYTES = "int64", "int32", "float", "name", "text", "bytes"
_EXTERNAL = "keeps weights in another file"
_SUBGRAPH = "has a graph inside a node"

# number: (name, kind, whether it may come again). A kind in capitals is a message; one that begins
# with "!" is why the field is refused.
_Field = tuple[str, str, bool]
_SCHEMAS: dict[str, dict[int, _Field]] = {
    "Model": {
        1: ("ir_version", _INT64, False),
        2: ("producer_name", _TEXT, False),
        3: ("producer_version", _TEXT, False),
        4: ("domain", _TEXT, False),
        5: ("model_version", _INT64, False),
        6: ("doc_string", _TEXT, False),
        7: ("graph", "Graph", False),
        8: ("opset_import", "Opset", True),
        14: ("metadata_props", "Entry", True),
        20: ("training_info", "!carries instructions for training", True),
        25: ("functions", "!defines functions of its own", True),
        26: ("configuration", "!names devices to run on", True),
    },
    "Opset": {1: ("domain", _NAME, False), 2: ("version", _INT64, False)},
    "Entry": {1: ("key", _TEXT, False), 2: ("value", _TEXT, False)},
    "Graph": {
        1: ("node", "Node", True),
        2: ("name", _TEXT, False),
        5: ("initializer", "Tensor", True),
        10: ("doc_string", _TEXT, False),
        11: ("input", "ValueInfo", True),
        12: ("output", "ValueInfo", True),
        13: ("value_info", "ValueInfo", True),
        14: ("quantization_annotation", "!carries annotations of quantisation", True),
        15: ("sparse_initializer", "!has sparse weights", True),
        16: ("metadata_props", "Entry", True),
    },
    "Node": {
        1: ("input", _NAME, True),
        2: ("output", _NAME, True),
        3: ("name", _NAME, False),
        4: ("op_type", _NAME, False),
        5: ("attribute", "Attribute", True),
        6: ("doc_string", _TEXT, False),
        7: ("domain", _NAME, False),
        8: ("overload", "!calls a function of its own", False),
        9: ("metadata_props", "Entry", True),
        10: ("device_configurations", "!names devices to run on", True),
    },
    "Attribute": {
        1: ("name", _NAME, False),
        2: ("f", _FLOAT, False),
        3: ("i", _INT64, False),
        4: ("s", _NAME, False),
        5: ("t", "Tensor", False),
        6: ("g", "!" + _SUBGRAPH, False),
        7: ("floats", _FLOAT, True),
        8: ("ints", _INT64, True),
        9: ("strings", "!has a list of texts in a node", True),
        10: ("tensors", "!has a list of tensors in a node", True),
        11: ("graphs", "!" + _SUBGRAPH, True),
        13: ("doc_string", _TEXT, False),
        14: ("tp", "!has a type in a node", False),
        15: ("type_protos", "!has types in a node", True),
        20: ("type", _INT32, False),
        21: ("ref_attr_name", "!refers to a function's attribute", False),
        22: ("sparse_tensor", "!has sparse weights", False),
        23: ("sparse_tensors", "!has sparse weights", True),
    },
    "Tensor": {
        1: ("dims", _INT64, True),
        2: ("data_type", _INT32, False),
        3: ("segment", "!has weights in segments", False),
        4: ("float_data", _BYTES, False),
        5: ("int32_data", _BYTES, False),
        6: ("string_data", "!has texts for weights", True),
        7: ("int64_data", _BYTES, False),
        8: ("name", _NAME, False),
        9: ("raw_data", _BYTES, False),
        10: ("double_data", _BYTES, False),
        11: ("uint64_data", _BYTES, False),
        12: ("doc_string", _TEXT, False),
        13: ("external_data", "!" + _EXTERNAL, True),
        14: ("data_location", _INT32, False),
        16: ("metadata_props", "Entry", True),
    },
    "ValueInfo": {
        1: ("name", _NAME, False),
        2: ("type", "Type", False),
        3: ("doc_string", _TEXT, False),
        4: ("metadata_props", "Entry", True),
    },
    "Type": {
        1: ("tensor_type", "TensorType", False),
        4: ("sequence_type", "!has a sequence for a value", False),
        5: ("map_type", "!has a map for a value", False),
        6: ("denotation", _TEXT, False),
        8: ("sparse_tensor_type", "!has a sparse tensor for a value", False),
        9: ("optional_type", "!has a value that may be missing", False),
    },
    "TensorType": {1: ("elem_type", _INT32, False), 2: ("shape", "Shape", False)},
    "Shape": {1: ("dim", "Dimension", True)},
    "Dimension": {
        1: ("dim_value", _INT64, False),
        2: ("dim_param", _NAME, False),
        3: ("denotation", _TEXT, False),
    },
}
_LENGTHS = {_NAME: MAX_NAME_BYTES, _TEXT: MAX_TEXT_BYTES}
_Reader = Callable[[Wire, int, int], Any]  # of a field as :meth:`Wire.fields` gives it
_NO_FORM = -1  # of a field that is refused: no wire type is it


class _Known(NamedTuple):
    """A row of the tables above, made ready once: thousands of fields are read by it."""

    name: str
    again: bool
    form: int  # wire type
    read: _Reader
    packed: _Reader | None  # reads a list of it in one field
    refusal: str  # what to say to any other wire type


def read_message(wire: Wire, kind: str, start: int, end: int) -> Message:
    """One message as a dictionary; repeated fields are lists, absent ones are not in it.

    Bytes are (start, end) in the file. Tables refer to each other in one direction only, so the
    depth is fixed.

    Raises:
        GateError: if a field is unknown, refused, of another type, or comes twice.
    """
    table = _KNOWN[kind]
    found: Message = {}
    for number, form, a, b in wire.fields(start, end):
        known = table.get(number)
        if known is None:
            raise GateError(f"its {kind} has a field {number} that is not known here")
        name, again, wanted, read, packed, refusal = known
        if again:
            values = found.setdefault(name, [])
            if form == wanted:
                values.append(read(wire, a, b))
            elif form == LENGTH and packed is not None:
                values += packed(wire, a, b)
            else:
                raise GateError(refusal)
            continue
        if name in found:
            raise GateError(f"its {kind} has '{name}' twice")
        if form != wanted:
            raise GateError(refusal)
        found[name] = read(wire, a, b)
    return found


def _known(kind: str, name: str, type_: str, again: bool) -> _Known:
    refusal = f"its {kind} has '{name}' of another type"
    if type_[0] == "!":
        return _Known(name, again, _NO_FORM, _range, None, f"it {type_[1:]}")
    if type_ == _INT64:
        return _Known(name, again, VARINT, _int64, _int64s, refusal)
    if type_ == _INT32:
        return _Known(name, again, VARINT, _int32, None, refusal)
    if type_ == _FLOAT:
        return _Known(name, again, FIXED32, _float, _floats, refusal)
    if type_ == _BYTES:
        return _Known(name, again, LENGTH, _range, None, refusal)
    if type_ in _LENGTHS:
        return _Known(name, again, LENGTH, _text(kind, name, _LENGTHS[type_]), None, refusal)
    return _Known(name, again, LENGTH, _message(type_), None, refusal)


def _int64(wire: Wire, a: int, b: int) -> int:
    return signed(a, 64)


def _int32(wire: Wire, a: int, b: int) -> int:
    return signed(a, 32)


def _float(wire: Wire, a: int, b: int) -> Any:
    return struct.unpack_from("<f", wire.data, a)[0]


def _range(wire: Wire, a: int, b: int) -> tuple[int, int]:
    return a, b


def _text(kind: str, name: str, most: int) -> _Reader:
    def read(wire: Wire, a: int, b: int) -> str:
        if b - a > most:
            raise GateError(f"its {kind} has {b - a:,} bytes of '{name}', too many")
        try:
            return str(wire.data[a:b], "utf-8")
        except UnicodeDecodeError:
            raise GateError(f"its {kind} has '{name}' that is no UTF-8") from None

    return read


def _message(kind: str) -> _Reader:
    def read(wire: Wire, a: int, b: int) -> Message:
        return read_message(wire, kind, a, b)

    return read


def _floats(wire: Wire, a: int, b: int) -> list[Any]:
    if (b - a) % 4:
        raise GateError("a list of numbers ends inside a number")
    return list(struct.unpack(f"<{(b - a) // 4}f", wire.data[a:b]))


def _int64s(wire: Wire, a: int, b: int) -> list[int]:
    numbers = []
    while a < b:
        value, a = wire.varint(a, b)
        numbers.append(signed(value, 64))
    return numbers


_KNOWN: Mapping[str, Mapping[int, _Known]] = {
    kind: {number: _known(kind, *row) for number, row in table.items()}
    for kind, table in _SCHEMAS.items()
}
