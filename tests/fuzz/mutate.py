"""Mutations that know a format: they change what a checksum covers, and make the checksum again."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from random import Random
from typing import Any

import numpy as np
from engine_factory import put_together, take_apart

from pyad_edge.engine_format import DTYPES

__all__ = ["changed_bytes", "mutated_engine", "mutated_json", "mutated_onnx"]

_NUMBERS = (
    0,
    1,
    2,
    3,
    7,
    8,
    16,
    127,
    128,
    255,
    2**15,
    2**31 - 1,
    2**31,
    2**32,
    2**53,
    2**63,
    2**64,
)
_WIDTHS = {name: np.dtype(name).itemsize for name in DTYPES}
_MOST_BYTES = 1 << 12  # of one tensor: more would only take time
_VALUES: tuple[Any, ...] = (
    *_NUMBERS,
    *(-n for n in _NUMBERS),
    0.5,
    1e-300,
    1e300,
    True,
    None,
    "",
    "a",
    "\ud800",
    "ü" * 100,
    [],
    {},
    [[]],
)


def changed_bytes(data: bytes, random: Random) -> bytes:
    """One small change anywhere: a bit, a byte, a run that goes, comes or moves."""
    if not data:
        return bytes([random.randrange(256)])
    at = random.randrange(len(data))
    match random.randrange(5):
        case 0:
            return data[:at] + bytes([data[at] ^ 1 << random.randrange(8)]) + data[at + 1 :]
        case 1:
            return data[:at] + bytes([random.randrange(256)]) + data[at + 1 :]
        case 2:
            return data[:at] + data[at + random.randrange(1, 9) :]
        case 3:
            return data[:at] + random.randbytes(random.randrange(1, 9)) + data[at:]
    end = min(len(data), at + random.randrange(1, 33))
    to = random.randrange(len(data))
    return data[:to] + data[at:end] + data[to:]


def mutated_json(data: bytes, random: Random) -> bytes:
    """A JSON text with another value somewhere, spelt canonically."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return changed_bytes(data, random)
    if not isinstance(value, (dict, list)) or random.random() < 0.3:
        return changed_bytes(data, random)
    for _ in range(_changes(random)):
        _change_value(value, random)
    try:
        return (json.dumps(value, sort_keys=True, separators=(",", ":")) + "\n").encode()
    except RecursionError:
        return changed_bytes(data, random)


def mutated_engine(data: bytes, random: Random) -> bytes:
    """An engine with another manifest or other tensors, made to fit each other again."""
    try:
        table, manifest, body = take_apart(data)
        ranges = {name: entry["data_offsets"] for name, entry in table.items()}
        parts = {name: bytearray(body[start:end]) for name, (start, end) in ranges.items()}
        for _ in range(_changes(random)):
            part = parts[random.choice(sorted(parts))]
            if random.random() < 0.5 or not part:
                _change_value(manifest, random)
                continue
            for _ in range(random.randrange(1, 5)):
                part[random.randrange(len(part))] = random.choice(
                    (0, 1, 127, 128, 255, random.randrange(256))
                )
        try:
            table, body = _put_right(manifest, parts)
        except Exception:  # a table of tensors that no file can follow
            body = body[: random.randrange(len(body) + 1)] if random.random() < 0.1 else body
        return put_together(table, manifest, body)
    except Exception:  # what is no engine any more has nothing to put right
        return changed_bytes(data, random)


def _put_right(
    manifest: dict[str, Any], parts: Mapping[str, bytes | bytearray]
) -> tuple[dict[str, Any], bytes]:
    """The header's table and the tensors' bytes that this manifest demands; it gets the hashes.

    A tensor that its shape makes longer goes on with zeros, one that it makes shorter is cut.
    """
    entries = manifest["tensors"]
    table, pieces, start = {}, [], 0
    for name in sorted(entries, key=lambda name: (-_WIDTHS[entries[name]["dtype"]], name)):
        dtype, shape = entries[name]["dtype"], entries[name]["shape"]
        size = _WIDTHS[dtype] * math.prod(shape)
        if not 0 <= size <= _MOST_BYTES:
            raise ValueError("too large for a small file")
        pieces.append(bytes(parts.get(name, b"")[:size]).ljust(size, b"\0"))
        entries[name]["sha256"] = hashlib.sha256(pieces[-1]).hexdigest()
        offsets = (start, start + size)
        table[name] = {"dtype": DTYPES[dtype], "shape": shape, "data_offsets": offsets}
        start += size
    for owner, prefix in (
        (manifest, ""),
        *((m, f"members/{i}/") for i, m in enumerate(manifest.get("members", ()), start=1)),
    ):
        owner["backbone"]["onnx_sha256"] = entries[f"{prefix}network/onnx"]["sha256"]
    if "refinement" in manifest:
        manifest["refinement"]["onnx_sha256"] = entries["refinement/onnx"]["sha256"]
    return table, b"".join(pieces)


def _changes(random: Random) -> int:
    """How many changes at once."""
    return random.randrange(1, 4)


def _change_value(value: Any, random: Random) -> None:
    """Change one entry of nested lists and dictionaries in place."""
    while True:
        keys = list(value) if isinstance(value, dict) else list(range(len(value)))
        if not keys:
            return
        key = random.choice(keys)
        inner = value[key]
        if isinstance(inner, (dict, list)) and inner and random.random() < 0.85:
            value = inner
            continue
        match random.randrange(5):
            case 0:
                del value[key]
            case 1 if isinstance(inner, (int, float)) and abs(inner) < 1e9:
                value[key] = inner + random.choice((-1, 1, 0.5, 100))
            case 2:
                value[key] = value[random.choice(keys)]
            case 3 if isinstance(value, dict):
                value[f"{key}x"] = inner
            case _:
                value[key] = random.choice(_VALUES)
        return


def mutated_onnx(data: bytes, random: Random) -> bytes:
    """A protobuf message with fields changed at any depth, all lengths right again."""
    for _ in range(_changes(random)):
        try:
            data = _change_message(data, random, 0)
        except ValueError:
            data = changed_bytes(data, random)
    return data


def _change_message(data: bytes, random: Random, depth: int) -> bytes:
    fields = _split(data)
    if not fields:
        return random.choice((b"\x08\x01", b"\x0a\x00", b""))
    at = random.randrange(len(fields))
    number, kind, payload = fields[at]
    if kind == 2 and depth < 8 and random.random() < 0.75:
        try:
            inner = _change_message(payload, random, depth + 1)
        except ValueError:
            inner = changed_bytes(payload, random)
        fields[at] = (number, kind, inner)
        return _join(fields)
    changes: tuple[Callable[[], Any], ...] = (
        lambda: fields.pop(at),
        lambda: fields.insert(at, fields[at]),
        lambda: fields.append(fields.pop(at)),
        lambda: fields.insert(at, random.choice(fields)),
        lambda: fields.__setitem__(at, (random.randrange(1, 30), kind, payload)),
        lambda: fields.__setitem__(at, (number, kind, _other_payload(kind, payload, random))),
        lambda: fields.__setitem__(at, (number, kind, _other_payload(kind, payload, random))),
    )
    random.choice(changes)()
    return _join(fields)


def _other_payload(kind: int, payload: bytes, random: Random) -> bytes:
    if kind == 0:
        return _varint(random.choice(_NUMBERS) % 2**64)
    if kind == 2:
        return changed_bytes(payload, random)
    return random.randbytes(len(payload))


def _split(data: bytes) -> list[tuple[int, int, bytes]]:
    """(number, wire type, payload) of each field; ValueError for what is no message."""
    fields, at = [], 0
    while at < len(data):
        key, at = _read_varint(data, at)
        kind, start = key & 7, at
        if kind == 0:
            _, at = _read_varint(data, at)
        elif kind == 2:
            size, start = _read_varint(data, at)
            at = start + size
        else:
            at += {1: 8, 5: 4}.get(kind, len(data) + 1)
        if at > len(data) or key < 8:
            raise ValueError("no message")
        fields.append((key >> 3, kind, data[start:at]))
    return fields


def _join(fields: list[tuple[int, int, bytes]]) -> bytes:
    pieces = []
    for number, kind, payload in fields:
        pieces.append(_varint(number << 3 | kind))
        if kind == 2:
            pieces.append(_varint(len(payload)))
        pieces.append(payload)
    return b"".join(pieces)


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise ValueError("no number")
        value |= (data[at] & 127) << shift
        at, shift = at + 1, shift + 7
        if data[at - 1] < 128:
            return value, at


def _varint(value: int) -> bytes:
    pieces = bytearray()
    while value > 127:
        pieces.append(value & 127 | 128)
        value >>= 7
    pieces.append(value)
    return bytes(pieces)
