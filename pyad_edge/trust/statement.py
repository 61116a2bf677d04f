"""What is signed about an engine, and the file beside it that says so."""

from __future__ import annotations

import base64
import binascii
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from pydantic import Field, ValidationError

from pyad_edge.engine_fields import Count, Sha256, StrictModel
from pyad_edge.engine_format import canonical_json, strict_json
from pyad_edge.errors import EngineError

__all__ = [
    "PRODUCT",
    "SUFFIX",
    "Signature",
    "Statement",
    "parse_signature",
    "signature_bytes",
    "signature_path",
    "signed_bytes",
]

SUFFIX = ".sig"  # after the whole name: part.pyad.sig
PRODUCT = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
_MAX_BYTES = 4096
# Nothing else that such a key signs begins like this, so no signature can be used for another end.
_DOMAIN = b"pyad_edge engine signature, format 1\n"
_Version: TypeAlias = Annotated[int, Field(ge=1, lt=2**53)]


class Statement(StrictModel):
    """What the holder of the key says."""

    engine_bytes: Count
    engine_sha256: Sha256  # of the whole file
    product: Annotated[str, Field(pattern=PRODUCT, max_length=100)]
    version: _Version  # grows with every engine of that product


class Signature(StrictModel):
    """The file's content."""

    format: Literal["pyad_edge signature"]
    format_version: Literal[1]
    key_id: Sha256  # of the public key: which one to try
    signature: Annotated[str, Field(min_length=88, max_length=88)]  # 64 bytes, base64
    statement: Statement

    @property
    def raw(self) -> bytes:
        """The signature's 64 bytes."""
        return base64.b64decode(self.signature, validate=True)


def signed_bytes(statement: Statement) -> bytes:
    """What Ed25519 signs."""
    return _DOMAIN + canonical_json(statement.model_dump(mode="json")).encode("ascii")


def signature_bytes(statement: Statement, *, key_id: str, signature: bytes) -> bytes:
    """The file's bytes: canonical JSON and a newline."""
    whole = Signature(
        format="pyad_edge signature",
        format_version=1,
        key_id=key_id,
        signature=base64.b64encode(signature).decode("ascii"),
        statement=statement,
    )
    return (canonical_json(whole.model_dump(mode="json")) + "\n").encode("ascii")


def signature_path(engine: Path) -> Path:
    """Where the signature of an engine file lies."""
    return engine.with_name(engine.name + SUFFIX)


def parse_signature(data: bytes, source: str) -> Signature:
    """Read a signature file. It has one spelling, so no byte of it can change unnoticed.

    Raises:
        EngineError: if it is no signature, or not spelt that way.
    """
    if len(data) > _MAX_BYTES:
        raise _damaged(source, f"is longer than {_MAX_BYTES:,} bytes")
    try:
        text = data.decode("ascii")
        strict_json(text)
        found = Signature.model_validate_json(text)
        raw = found.raw
    except (ValidationError, ValueError, binascii.Error) as error:
        raise _damaged(source, "is no signature of pyad_edge, or is damaged") from error
    again = signature_bytes(found.statement, key_id=found.key_id, signature=raw)
    if len(raw) != 64 or again != data:
        raise _damaged(source, "is damaged: it is not in canonical form")
    return found


def _damaged(source: str, what: str) -> EngineError:
    return EngineError(
        f"[signature] {source} {what}. Copy it again together with its engine, or sign the engine "
        "again with `pyad-edge sign`."
    )
