"""The bytes of an engine file: a safetensors file whose header follows from its manifest.

The writer and the reader share this module. Header and tensor positions are computed from the
manifest alone, so a reader rebuilds the header and compares; it never follows a stored offset.
"""

from __future__ import annotations

import hashlib
import json
import math
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyad_edge.engine_manifest import Manifest, TensorEntry

__all__ = [
    "ALIGNMENT",
    "DTYPES",
    "MAX_FILE_BYTES",
    "MAX_HEADER_BYTES",
    "MAX_TENSORS",
    "METADATA_KEY",
    "METADATA_SHA256_KEY",
    "Slot",
    "canonical_json",
    "decode_names",
    "encode_names",
    "engine_header",
    "layout",
    "little_endian",
    "strict_json",
]

ALIGNMENT = 64  # bytes: a cache line, and the widest vector register
MAX_HEADER_BYTES = 1 << 20
MAX_TENSORS = 256
MAX_FILE_BYTES = 8 << 30
METADATA_KEY = "pyad_edge"
METADATA_SHA256_KEY = "pyad_edge_sha256"

# NumPy's names, which the manifest uses, and safetensors' names.
DTYPES = {
    "uint8": "U8",
    "uint16": "U16",
    "int32": "I32",
    "int64": "I64",
    "float32": "F32",
    "float64": "F64",
}


@dataclass(frozen=True)
class Slot:
    """Where one tensor lies, in bytes from the end of the header."""

    name: str
    dtype: np.dtype[Any]  # little-endian
    shape: tuple[int, ...]
    sha256: str
    start: int
    end: int


def canonical_json(value: object) -> str:
    """JSON with one spelling per value: sorted keys, no spaces, ASCII, no NaN or infinity."""
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False
    )


def strict_json(text: str | bytes) -> Any:
    """Parse JSON; whatever is not JSON, ``NaN`` and endless nesting included, is a ValueError."""

    def refuse(literal: str) -> object:
        raise ValueError(f"{literal} is not JSON")

    try:
        return json.loads(text, parse_constant=refuse)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


@lru_cache(maxsize=64)
def little_endian(dtype: str) -> np.dtype[Any]:
    """The byte order of the file for a dtype name such as ``float32``."""
    order: np.dtype[Any] = np.dtype(dtype).newbyteorder("<")
    return order


def layout(tensors: Mapping[str, TensorEntry]) -> list[Slot]:
    """Tensors in file order: wide elements first, then by name, without gaps.

    safetensors forbids holes, so only the first tensor can be put on a 64-byte border at will; this
    order keeps every other one aligned to its own element.
    """

    def rank(name: str) -> tuple[int, str]:
        return -little_endian(tensors[name].dtype).itemsize, name

    slots: list[Slot] = []
    start = 0
    for name in sorted(tensors, key=rank):
        entry = tensors[name]
        dtype = little_endian(entry.dtype)
        end = start + math.prod(entry.shape) * dtype.itemsize
        slots.append(Slot(name, dtype, entry.shape, entry.sha256, start, end))
        start = end
    return slots


def engine_header(manifest: Manifest, text: str | None = None) -> bytes:
    """The one header that a file with this manifest has, its 8-byte length included.

    Args:
        manifest: what the file holds.
        text: its canonical JSON, where that is known already.
    """
    if text is None:
        text = canonical_json(manifest.model_dump(mode="json"))
    table: dict[str, object] = {
        "__metadata__": {
            METADATA_KEY: text,
            METADATA_SHA256_KEY: hashlib.sha256(text.encode("ascii")).hexdigest(),
        }
    }
    for slot in layout(manifest.tensors):
        table[slot.name] = {
            "dtype": DTYPES[manifest.tensors[slot.name].dtype],
            "shape": slot.shape,
            "data_offsets": (slot.start, slot.end),
        }
    body = canonical_json(table).encode("ascii")
    body += b" " * (-(8 + len(body)) % ALIGNMENT)
    return struct.pack("<Q", len(body)) + body


def encode_names(names: Iterable[str]) -> NDArray[np.uint8]:
    """Names as a uint8 tensor, (bytes,): a JSON list."""
    return np.frombuffer(canonical_json(list(names)).encode("ascii"), np.uint8)


def decode_names(tensor: NDArray[np.uint8]) -> tuple[str, ...]:
    """Names from a uint8 tensor; the inverse of :func:`encode_names`.

    Raises:
        ValueError: if the bytes are not a JSON list of strings.
    """
    names = strict_json(tensor.tobytes())
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError("expected a JSON list of names")
    return tuple(names)
