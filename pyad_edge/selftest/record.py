"""The record of a self-test: canonical JSON, signed where a key is given."""

from __future__ import annotations

import base64
import binascii
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from pyad_edge.engine_fields import Sha256, StrictModel, Text
from pyad_edge.engine_format import canonical_json, strict_json
from pyad_edge.errors import DataError, ResourceError, SettingError
from pyad_edge.private_files import write_private
from pyad_edge.trust.keys import key_id, private_key, public_bytes, public_keys

__all__ = ["Check", "Report", "read_record", "write_record"]

_MAX_BYTES = 16 << 20
# Engines' signatures begin differently, so none of either kind can pass for the other.
_DOMAIN = b"pyad_edge selftest record, format 1\n"


class Check(StrictModel):
    """One thing that was looked at."""

    name: Annotated[str, Field(pattern=r"^[a-z_]+$", max_length=40)]
    passed: bool
    detail: Text
    figures: dict[str, Any]


class Report(StrictModel):
    """What was checked, where, when, and with what outcome."""

    time: Text  # UTC, ISO 8601
    engine_sha256: Sha256 | None  # None: the file could not be read
    host: dict[str, Any]
    checks: Annotated[tuple[Check, ...], Field(min_length=1)]

    @property
    def failed(self) -> tuple[Check, ...]:
        """Checks that did not pass."""
        return tuple(check for check in self.checks if not check.passed)


class _Record(StrictModel):
    format: Literal["pyad_edge selftest record"]
    format_version: Literal[1]
    report: Report
    key_id: Sha256 | None
    signature: Annotated[str, Field(min_length=88, max_length=88)] | None  # base64

    @model_validator(mode="after")
    def _both_or_none(self) -> _Record:
        if (self.key_id is None) != (self.signature is None):
            raise ValueError("a signature without a key, or the other way round")
        return self


def write_record(path: Path, report: Report, *, key: Path | None) -> None:
    """Write a record atomically, in place of an earlier one.

    Args:
        path: the file.
        report: its content.
        key: private key that signs it; None: it is not signed.

    Raises:
        BackendError: if a key is given and the package cryptography is missing.
        SettingError: if the key cannot be used, or the folder not written.
        ResourceError: if the disk is full or fails.
    """
    secret = None if key is None else private_key(key)
    signed = None if secret is None else secret.sign(_signed_bytes(report))
    record = _Record(
        format="pyad_edge selftest record",
        format_version=1,
        report=report,
        key_id=None if secret is None else key_id(public_bytes(secret)),
        signature=None if signed is None else base64.b64encode(signed).decode("ascii"),
    )
    try:
        write_private(path, _spelt(record), everybody_reads=True)
    except OSError as error:
        kind = ResourceError if error.errno in (5, 28, 122) else SettingError
        raise kind(
            f"[selftest] {path} could not be written: {error.strerror or error}. Name a file in a "
            "folder that exists and that you may write to, on a disk with some space."
        ) from error


def read_record(path: Path, *, keys: Path) -> Report:
    """A record that one of the keys signed.

    Raises:
        BackendError: if the package cryptography is missing.
        DataError: if the record is missing, damaged, not signed, or not signed by these keys.
        SettingError: if the keys cannot be read.
    """
    trusted = public_keys(keys)
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(
            f"[selftest] {path} cannot be read: {reason}. Name the file that `pyad-edge selftest "
            "--out` wrote."
        ) from error
    try:
        text = data.decode("ascii")
        strict_json(text)
        record = _Record.model_validate_json(text)
        raw = b"" if record.signature is None else base64.b64decode(record.signature, validate=True)
        if _spelt(record) != data:
            raise ValueError("not in canonical form")
    except (ValidationError, ValueError, binascii.Error) as error:
        raise DataError(
            f"[selftest] {path} is no record of a self-test, or was changed. Copy it again, or "
            "repeat the self-test."
        ) from error
    if record.key_id is None:
        raise DataError(
            f"[selftest] {path} is not signed. Repeat the self-test with --key, where the key is."
        )
    public = trusted.get(record.key_id)
    try:
        if public is None:
            raise LookupError(record.key_id)
        public.verify(raw, _signed_bytes(record.report))
    except Exception as error:  # InvalidSignature, and whatever else keeps it from passing
        raise DataError(
            f"[selftest] {path} was not signed by a key in {keys}, or was changed since. Do not "
            "rely on it; copy it again from where it was made, or repeat the self-test."
        ) from error
    return record.report


def _signed_bytes(report: Report) -> bytes:
    return _DOMAIN + canonical_json(report.model_dump(mode="json")).encode("ascii")


def _spelt(record: _Record) -> bytes:
    return (canonical_json(record.model_dump(mode="json")) + "\n").encode("ascii")
