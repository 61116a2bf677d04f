"""Check the bytes of an engine file, from the outside in; the format's page lists the order."""

from __future__ import annotations

import hashlib
import importlib.metadata
import struct
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from pyad_edge.engine_checks import METHODS
from pyad_edge.engine_format import (
    MAX_HEADER_BYTES,
    MAX_TENSORS,
    METADATA_KEY,
    METADATA_SHA256_KEY,
    Slot,
    canonical_json,
    engine_header,
    layout,
    strict_json,
)
from pyad_edge.engine_manifest import FORMAT_NAME, FORMAT_VERSION, Manifest, field_path
from pyad_edge.errors import EngineError

__all__ = ["FOREIGN", "RECOPY", "engine_error", "verify_bytes"]

RECOPY = "Copy the file again from where it was made, or export the engine again."
FOREIGN = "Give the path of a .pyad file that `pyad-edge train` wrote."
_UPDATE = "Update it: pip install --upgrade pyad_edge"
_EXPORT = "Export the engine again with this version of pyad_edge."

# First bytes of files that people pick by mistake.
_SIGNATURES = {
    b"\xff\xd8\xff": "a JPEG picture",
    b"\x89PNG": "a PNG picture",
    b"BM": "a BMP picture",
    b"PK\x03\x04": "a ZIP archive (PyTorch checkpoints are such)",
    b"\x1f\x8b": "a gzip archive",
    b"\x80\x02": "a pickle",
    b"\x7fELF": "a program",
    b"version https://git-lfs": "a Git LFS pointer, not the file itself",
}


def engine_error(source: str, what: str, way_out: str) -> EngineError:
    """An error about one engine file, in whole sentences."""
    return EngineError(f"[read_engine] {source} {what}. {way_out}")


def verify_bytes(
    data: bytes | NDArray[np.uint8], source: str
) -> tuple[Manifest, Mapping[str, NDArray[Any]]]:
    """Check the bytes of an engine file; the tensors are read-only views of ``data``.

    Args:
        data: the whole file; an array is (bytes,) uint8.
        source: what error messages call it.

    Raises:
        EngineError: if anything is wrong; the sentence says what, and the way out.
    """
    size = len(data)
    header = _header(data, size, source)
    manifest, text = _manifest(header, source)
    canonical = engine_header(manifest, text)
    if bytes(data[: len(canonical)]) != canonical:
        raise engine_error(
            source, "is damaged: its header is not the one its manifest demands", RECOPY
        )
    slots = layout(manifest.tensors)
    _check_length(size, len(canonical) + (slots[-1].end if slots else 0), source)
    methods = METHODS[manifest.method]
    if wrong := methods.structure(manifest):
        raise engine_error(source, f"contradicts itself: {wrong}", _EXPORT)
    buffer = np.frombuffer(data, np.uint8)
    buffer.flags.writeable = False
    tensors = MappingProxyType(
        {slot.name: _tensor(buffer[len(canonical) :], slot, source) for slot in slots}
    )
    if wrong := methods.contents(manifest, tensors):
        raise engine_error(source, f"contradicts itself: {wrong}", _EXPORT)
    return manifest, tensors


def _header(data: bytes | NDArray[np.uint8], size: int, source: str) -> bytes:
    """The JSON header's bytes, once their length is plausible."""
    if size == 0:
        raise engine_error(source, "is empty", RECOPY)
    prefix = bytes(data[:32])
    for signature, kind in _SIGNATURES.items():
        if prefix.startswith(signature):
            raise engine_error(source, f"is not an engine file: it begins like {kind}", FOREIGN)
    if size < 8:
        raise engine_error(source, f"has only {size} of the 8 bytes an engine begins with", RECOPY)
    (length,) = struct.unpack("<Q", prefix[:8])
    if length > MAX_HEADER_BYTES:
        what = (
            f"is not an engine file, or its first bytes are damaged: they announce a header of "
            f"{length:,} bytes, more than the {MAX_HEADER_BYTES:,} allowed"
        )
        raise engine_error(source, what, RECOPY)
    if length + 8 > size:
        what = f"is cut off: it has {size:,} bytes, but its header alone takes {length + 8:,}"
        raise engine_error(source, what, RECOPY)
    return bytes(data[8 : 8 + length])


def _manifest(header: bytes, source: str) -> tuple[Manifest, str]:
    """The manifest, and its canonical JSON."""
    try:
        table = strict_json(header)
    except ValueError as error:
        what = f"is not an engine file, or its header is damaged ({_brief(error)})"
        raise engine_error(source, what, RECOPY) from error
    metadata = table.get("__metadata__") if isinstance(table, dict) else None
    text = metadata.get(METADATA_KEY) if isinstance(metadata, dict) else None
    if not isinstance(metadata, dict) or not isinstance(text, str):
        what = "is a safetensors file without pyad_edge's manifest, so it is not an engine"
        raise engine_error(source, what, FOREIGN)
    # The hash comes first: without it a flipped bit could pass for a newer version.
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    if metadata.get(METADATA_SHA256_KEY) != digest:
        raise engine_error(source, "is damaged: its manifest does not match its SHA-256", RECOPY)
    try:
        fields = strict_json(text)
        _check_version(fields, source)
        manifest = Manifest.model_validate_json(text)
        canonical = canonical_json(manifest.model_dump(mode="json"))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = field_path(first["loc"]) or "manifest"
        what = f"has a manifest that pyad_edge does not accept: {place}: {first['msg']}"
        raise engine_error(source, what, _EXPORT) from error
    except ValueError as error:
        what = f"has a manifest that is not valid JSON ({_brief(error)})"
        raise engine_error(source, what, _EXPORT) from error
    if text != canonical:
        raise engine_error(source, "has a manifest that is not in canonical form", _EXPORT)
    if len(manifest.tensors) > MAX_TENSORS:
        what = f"lists {len(manifest.tensors):,} tensors; at most {MAX_TENSORS} are allowed"
        raise engine_error(source, what, _EXPORT)
    return manifest, text


def _check_version(fields: object, source: str) -> None:
    """Tell a file from the future by its version or method, before its fields are judged."""
    if not isinstance(fields, dict) or fields.get("format") != FORMAT_NAME:
        raise engine_error(source, "is not an engine: its manifest is of another format", FOREIGN)
    version, method = fields.get("format_version"), fields.get("method")
    if isinstance(version, int) and version > FORMAT_VERSION:
        what = (
            f"has engine format {version}, but {_installed()} reads up to format {FORMAT_VERSION}"
        )
        raise engine_error(source, what, _UPDATE)
    if isinstance(method, str) and method not in METHODS:
        what = f"was made with the method '{method}', unknown to {_installed()}"
        raise engine_error(source, what, _UPDATE)


@cache
def _installed() -> str:
    return f"the installed pyad_edge {importlib.metadata.version('pyad_edge')}"


def _check_length(size: int, expected: int, source: str) -> None:
    if size < expected:
        what = f"is cut off: it has {size:,} of {expected:,} bytes"
        raise engine_error(source, what, RECOPY)
    if size > expected:
        what = f"goes on after its end: it has {size:,} instead of {expected:,} bytes"
        raise engine_error(source, what, RECOPY)


def _tensor(data: NDArray[np.uint8], slot: Slot, source: str) -> NDArray[Any]:
    raw = data[slot.start : slot.end]
    if hashlib.sha256(raw.data).hexdigest() != slot.sha256:
        what = f"is damaged: its tensor '{slot.name}' does not match its SHA-256"
        raise engine_error(source, what, RECOPY)
    tensor: NDArray[Any] = raw.view(slot.dtype).reshape(slot.shape)
    if slot.dtype.kind == "f" and not np.isfinite(tensor).all():
        what = f"holds NaN or infinity in its tensor '{slot.name}'"
        raise engine_error(source, what, "Export the engine again from sound pictures.")
    return tensor


def _brief(error: ValueError) -> str:
    return str(error).splitlines()[0][:120]
