"""Whether a pinned key signed an engine, for this product, and no newer one was accepted."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pyad_edge.errors import EngineError, SettingError
from pyad_edge.trust.keys import public_keys
from pyad_edge.trust.state import VersionState
from pyad_edge.trust.statement import (
    Signature,
    Statement,
    parse_signature,
    signature_path,
    signed_bytes,
)

__all__ = ["Accepted", "SignaturePolicy", "policy_of", "read_signature"]

_MAX_BYTES = 8192


@dataclass(frozen=True)
class SignaturePolicy:
    """What an engine must show before it is opened.

    Attributes:
        keys: file with the public keys that are trusted, PEM, one or several.
        product: name that the signature must state; none: any that these keys sign.
        allow_rollback: whether a version older than the highest accepted one opens; it then becomes
            the highest accepted one.
        state: folder where accepted versions are remembered; none: as ``PYAD_EDGE_STATE`` says,
            else in the user's state folder.
    """

    keys: str | os.PathLike[str]
    product: str | None = None
    allow_rollback: bool = False
    state: str | os.PathLike[str] | None = None

    def check(self, engine: Path, *, sha256: str, size: int) -> Accepted:
        """Check the signature beside an engine file; nothing is remembered yet.

        Args:
            engine: the file; its signature is ``ENGINE.sig``.
            sha256: of the bytes that will be used.
            size: how many they are.

        Raises:
            BackendError: if the package cryptography is missing.
            EngineError: if the signature is missing, damaged, by an unknown key, not genuine, of
                another file or product, or the engine is older than one that was accepted.
            SettingError: if the keys cannot be read.
        """
        keys = public_keys(Path(self.keys))
        statement = _genuine(read_signature(engine), keys, engine, Path(self.keys))
        if (statement.engine_sha256, statement.engine_bytes) != (sha256, size):
            raise EngineError(
                f"[signature] {engine} is not the file that was signed as {_named(statement)}: its "
                f"SHA-256 is {sha256}, not {statement.engine_sha256}. Copy engine and signature "
                "again, together; do not use this file."
            )
        if self.product is not None and statement.product != self.product:
            raise EngineError(
                f"[signature] {engine} is signed for the product '{statement.product}', but "
                f"'{self.product}' is wanted here. Copy the engine of that product."
            )
        state = VersionState(None if self.state is None else Path(self.state))
        highest = state.highest(statement.product)
        if highest is not None and statement.version < highest and not self.allow_rollback:
            raise EngineError(
                f"[signature] {engine} is version {statement.version} of "
                f"'{statement.product}', but version {highest} was accepted here before. Copy the "
                "newer engine. If the older one is wanted on purpose, open it once with "
                "--allow-rollback (allow_rollback=True)."
            )
        return Accepted(statement, state, self.allow_rollback)


@dataclass(frozen=True)
class Accepted:
    """A signature that passed.

    Attributes:
        statement: what it says.
    """

    statement: Statement
    _state: VersionState = field(repr=False)
    _lower: bool = field(repr=False)

    def remember(self) -> None:
        """Refuse older versions from now on; called once the engine has opened.

        Raises:
            EngineError, ResourceError: as :meth:`VersionState.remember`.
        """
        self._state.remember(self.statement.product, self.statement.version, lower=self._lower)


def read_signature(engine: Path) -> Signature:
    """The signature beside an engine file, not yet known to be genuine.

    Raises:
        EngineError: if it is missing, unreadable or damaged.
    """
    path = signature_path(engine)
    try:
        if not path.is_file():
            raise EngineError(
                f"[signature] {engine} has no signature: {path} "
                f"{'is no regular file' if path.exists() else 'does not exist'}. Copy it from "
                "where the engine was signed, or sign the engine with `pyad-edge sign`."
            )
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES)
    except OSError as error:
        raise EngineError(
            f"[signature] {path} cannot be read: {error.strerror or error}. Grant read permission "
            "to it, or copy it again."
        ) from error
    return parse_signature(data, str(path))


def _genuine(
    signature: Signature, keys: Mapping[str, Any], engine: Path, source: Path
) -> Statement:
    key = keys.get(signature.key_id)
    if key is None:
        raise EngineError(
            f"[signature] {engine} is signed by a key that is not trusted here: "
            f"{signature.key_id[:16]}... is not among the {len(keys)} in {source}. If that key is "
            "yours, add its .pub.pem to the file; if not, do not use the engine."
        )
    try:
        key.verify(signature.raw, signed_bytes(signature.statement))
    except Exception as error:  # InvalidSignature, and whatever else keeps it from passing
        raise EngineError(
            f"[signature] {engine} has a signature that is not genuine: the key "
            f"{signature.key_id[:16]}... did not sign what {engine.name}.sig says. Do not use the "
            "engine; copy both files again from where it was signed."
        ) from error
    return signature.statement


def _named(statement: Statement) -> str:
    return f"version {statement.version} of '{statement.product}'"


def policy_of(value: SignaturePolicy | str | os.PathLike[str]) -> SignaturePolicy:
    """A policy, or a file of keys that is pinned with everything else as usual."""
    if isinstance(value, SignaturePolicy):
        return value
    if isinstance(value, (str, os.PathLike)):
        return SignaturePolicy(keys=value)
    raise SettingError(
        f"[signature] expected require_signature as a file of public keys or a SignaturePolicy, "
        f"got {type(value).__name__}."
    )
