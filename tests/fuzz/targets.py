"""What is fuzzed: each target takes any bytes, and either accepts them or refuses with a sentence.

Everything else that comes out of a target (another exception, a hang, growing memory) is a fault.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from fuzz.mutate import mutated_engine, mutated_json, mutated_onnx

from pyad_edge.engine_format import engine_header, layout
from pyad_edge.engine_verify import verify_bytes
from pyad_edge.errors import EngineError
from pyad_edge.onnx_gate.check import check_network
from pyad_edge.onnx_gate.errors import GateError
from pyad_edge.onnx_gate.limits import MAX_ELEMENTS
from pyad_edge.trust.state import parse_versions
from pyad_edge.trust.statement import parse_signature, signature_bytes

__all__ = ["TARGETS", "Target"]


@dataclass(frozen=True)
class Target:
    """One entry point.

    Attributes:
        accepts: the bytes' fate: True if they were taken, False if they were refused in words.
        mutate: makes one to three changes that get past checksums; takes bytes and a random
            generator.
        modules: what coverage is measured in.
        most: bytes of an input at most; a larger one costs time and takes no other path.
    """

    accepts: Callable[[bytes], bool]
    mutate: Callable[[bytes, Any], bytes]
    modules: tuple[str, ...]
    most: int


def _engine(data: bytes) -> bool:
    try:
        manifest, tensors = verify_bytes(data, "part.pyad")
    except EngineError as error:
        _is_sentence(str(error), "[read_engine] part.pyad ")
        return False
    # Equal engines are equal files: what was accepted is what the writer would write.
    slots = layout(manifest.tensors)
    again = engine_header(manifest) + b"".join(tensors[slot.name].tobytes() for slot in slots)
    if again != data:
        raise AssertionError("an engine was accepted that no writer writes")
    return True


def _onnx(data: bytes) -> bool:
    try:
        found = check_network(data, input_shape=(1, 3, 32, 32))
    except GateError as error:
        _is_sentence(f"{error}.", "")
        return False
    if found.largest > MAX_ELEMENTS:
        raise AssertionError(f"a value of {found.largest} numbers was accepted")
    return True


def _signature(data: bytes) -> bool:
    try:
        found = parse_signature(data, "part.pyad.sig")
    except EngineError as error:
        _is_sentence(str(error), "[signature] part.pyad.sig ")
        return False
    if signature_bytes(found.statement, key_id=found.key_id, signature=found.raw) != data:
        raise AssertionError("a signature was accepted that is never written")
    return True


def _versions(data: bytes) -> bool:
    try:
        found = parse_versions(data, "versions.json")
    except EngineError as error:
        _is_sentence(str(error), "[signature] versions.json ")
        return False
    if any(version < 1 for version in found.values()):
        raise AssertionError(f"impossible versions were accepted: {found}")
    return True


def _is_sentence(text: str, begin: str) -> None:
    if not text.startswith(begin) or not text.endswith((".", "--upgrade pyad_edge")):
        raise AssertionError(f"no whole sentence: {text[-80:]!r}")


_READER = ("pyad_edge.engine_", "pyad_edge.pixel_formats", "pyad_edge.heads.ivfpq_layout")
_TRUST = ("pyad_edge.trust.state", "pyad_edge.trust.statement")

TARGETS: Mapping[str, Target] = {
    "engine": Target(_engine, mutated_engine, _READER, 8192),
    "onnx": Target(_onnx, mutated_onnx, ("pyad_edge.onnx_gate",), 4096),
    "signature": Target(_signature, mutated_json, _TRUST, 2048),
    "versions": Target(_versions, mutated_json, _TRUST, 2048),
}
