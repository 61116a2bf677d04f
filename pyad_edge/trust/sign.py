"""Sign an engine file."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from pyad_edge.engine import read_engine
from pyad_edge.engine_networks import check_networks
from pyad_edge.errors import ResourceError, SettingError
from pyad_edge.private_files import write_private
from pyad_edge.trust.keys import key_id, private_key, public_bytes
from pyad_edge.trust.statement import Statement, signature_bytes, signature_path, signed_bytes

__all__ = ["sign_engine"]


def sign_engine(path: Path, *, key: Path, product: str, version: int) -> tuple[Path, Statement]:
    """Write ``ENGINE.sig`` beside an engine, in place of an earlier one.

    The engine is verified first, with its networks: nobody signs what no line would open.

    Args:
        path: the engine.
        key: file of the private key.
        product: name of what it inspects: letters, digits, ``.``, ``_`` and ``-``.
        version: from 1; lines refuse a lower one than they have accepted.

    Returns:
        The file that was written, and what it says.

    Raises:
        BackendError: if the package cryptography is missing.
        EngineError: if the engine is damaged or refused.
        SettingError: if the key, product or version cannot be used, or the folder not written.
        ResourceError: if the disk is full or fails.
    """
    secret = private_key(key)
    engine = read_engine(path)
    check_networks(engine)
    try:
        statement = Statement(
            engine_bytes=engine.size,
            engine_sha256=engine.file_sha256,
            product=product,
            version=version,
        )
    except ValidationError as error:
        raise SettingError(
            "[sign] expected a product of letters, digits, '.', '_' and '-', at most 100 of them, "
            f"and a version from 1, got {product!r} and {version}."
        ) from error
    raw = secret.sign(signed_bytes(statement))
    content = signature_bytes(statement, key_id=key_id(public_bytes(secret)), signature=raw)
    target = signature_path(path)
    try:
        write_private(target, content)
    except OSError as error:
        kind = ResourceError if error.errno in (5, 28, 122) else SettingError
        raise kind(
            f"[sign] {target} could not be written: {error.strerror or error}. The engine's folder "
            "must be one that you may write to, on a disk with some space."
        ) from error
    try:
        target.chmod(0o644)
    except OSError as error:
        raise ResourceError(
            f"[sign] {target} is saved, but only you may read it ({error.strerror or error}): run "
            f"chmod go+r {target}."
        ) from error
    return target, statement
