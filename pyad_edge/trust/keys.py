"""Ed25519 keys (RFC 8032) as PEM files: never overwritten, the private one for one user's eyes."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from pyad_edge.backends._common import require_package
from pyad_edge.errors import ResourceError, SettingError
from pyad_edge.private_files import UnsafeError, read_private, write_private

__all__ = ["PASSPHRASE", "generate_keys", "key_id", "private_key", "public_bytes", "public_keys"]

PASSPHRASE = "PYAD_EDGE_PASSPHRASE"  # variable of the environment
_MAX_BYTES = 1 << 16
_BLOCK = re.compile(rb"-----BEGIN PUBLIC KEY-----\s.*?-----END PUBLIC KEY-----", re.DOTALL)


def key_id(raw: bytes) -> str:
    """SHA-256 in hex of a public key's 32 bytes."""
    return hashlib.sha256(raw).hexdigest()


def generate_keys(private: Path) -> tuple[Path, str]:
    """Make a pair of keys.

    Args:
        private: file of the private key, PEM (PKCS 8), encrypted where the variable
            PYAD_EDGE_PASSPHRASE is set. The public key's ends in ``.pub.pem``.

    Returns:
        The public key's file, and its id.

    Raises:
        BackendError: if the package cryptography is missing.
        SettingError: if one of the files is there already, or the folder cannot be written.
        ResourceError: if the disk is full or fails.
    """
    serialization = _package("hazmat.primitives.serialization")
    public = private.with_name(f"{private.stem}.pub.pem")
    for path in (private, public):
        if os.path.lexists(path):
            raise SettingError(
                f"[keygen] {path} is there already, and a key is never overwritten: what it signed "
                "could not be signed again. Choose another --out."
            )
    key = _package("hazmat.primitives.asymmetric.ed25519").Ed25519PrivateKey.generate()
    phrase = os.environ.get(PASSPHRASE, "")
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(phrase.encode())
        if phrase
        else serialization.NoEncryption(),
    )
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    text = key.public_key().public_bytes(serialization.Encoding.PEM, form)
    try:
        write_private(public, text, replace=False, everybody_reads=True)
        try:
            write_private(private, pem, replace=False)
        except BaseException:  # or the next attempt would find a key that is there already
            with suppress(OSError):
                public.unlink()
            raise
    except OSError as error:
        kind = ResourceError if error.errno in (5, 28, 122) else SettingError
        raise kind(
            f"[keygen] {private} could not be written: {error.strerror or error}. Choose an --out "
            "in a folder that exists and that you may write to."
        ) from error
    return public, key_id(public_bytes(key))


def private_key(path: Path) -> Any:
    """An ``Ed25519PrivateKey``.

    Raises:
        BackendError: if the package cryptography is missing.
        SettingError: if it cannot be read, others can read it, or it is no such key.
    """
    serialization = _package("hazmat.primitives.serialization")
    kind = _package("hazmat.primitives.asymmetric.ed25519").Ed25519PrivateKey
    try:
        pem = read_private(path, secret=True, limit=_MAX_BYTES)
    except UnsafeError as error:
        raise SettingError(
            f"[sign] {error}, so it is not this user's alone. Put that right (chmod 600); if "
            "somebody else has used the machine, make a new key."
        ) from error
    if pem is None:
        raise SettingError(f"[sign] {path} does not exist. `pyad-edge keygen` makes a key.")
    encrypted = b"ENCRYPTED" in pem
    phrase = os.environ.get(PASSPHRASE, "")
    if encrypted and not phrase:
        raise SettingError(
            f"[sign] {path} is encrypted. Set its passphrase in the variable {PASSPHRASE}."
        )
    try:
        key = serialization.load_pem_private_key(pem, phrase.encode() if encrypted else None)
    except Exception as error:  # the package's own classes for one and the same thing
        raise SettingError(
            f"[sign] {path} cannot be read as a private key"
            f"{' with that passphrase' if encrypted else ''}. Give the .pem file that `pyad-edge "
            "keygen` wrote."
        ) from error
    if not isinstance(key, kind):
        raise SettingError(
            f"[sign] {path} holds a key of another kind than Ed25519. Make one with `pyad-edge "
            "keygen`."
        )
    return key


def public_keys(path: Path) -> Mapping[str, Any]:
    """The ``Ed25519PublicKey`` of every PEM block in a file, by id.

    Raises:
        BackendError: if the package cryptography is missing.
        SettingError: if the file cannot be read or holds anything but such keys.
    """
    serialization = _package("hazmat.primitives.serialization")
    kind = _package("hazmat.primitives.asymmetric.ed25519").Ed25519PublicKey
    try:
        with path.open("rb") as file:
            text = file.read(_MAX_BYTES)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = getattr(error, "strerror", None) or error
        raise SettingError(
            f"[signature] the keys {path} cannot be read: {reason}. "
            "Give the .pub.pem file that `pyad-edge keygen` wrote."
        ) from error
    if b"PRIVATE KEY" in text:
        raise SettingError(
            f"[signature] {path} holds a private key, which belongs on no inspection machine. Give "
            "the .pub.pem file beside it."
        )
    blocks = _BLOCK.findall(text)
    found = {}
    for block in blocks:
        try:
            key = serialization.load_pem_public_key(block)
        except Exception:  # the package's own classes for one and the same thing
            key = None
        if not isinstance(key, kind):
            raise SettingError(
                f"[signature] {path} holds something else than public Ed25519 keys. Give the "
                ".pub.pem file that `pyad-edge keygen` wrote."
            )
        found[key_id(public_bytes(key))] = key
    if not found:
        raise SettingError(
            f"[signature] {path} holds no public key. Give the .pub.pem file that `pyad-edge "
            "keygen` wrote, or several of them one after the other in one file."
        )
    return found


def public_bytes(key: Any) -> bytes:
    """The 32 bytes of a public key, or of a private key's public one."""
    public = key.public_key() if hasattr(key, "public_key") else key
    return bytes(public.public_bytes_raw())


def _package(name: str) -> Any:
    return require_package(f"cryptography.{name}", extra="sign", op="signature")
