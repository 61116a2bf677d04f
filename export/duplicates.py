"""Byte copies among pictures.

A copy carries no new evidence: on the other side of a hold-out it scores too low, and on the same
side a guarantee that counts pictures would count it twice.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from pyad_edge.errors import DataError

__all__ = ["contents_of", "distinct", "file_sha256"]

_CHUNK = 1 << 20


def file_sha256(path: Path) -> bytes:
    """SHA-256 of a file's bytes.

    Raises:
        DataError: if it cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
    except OSError as error:
        raise DataError(
            f"[file_sha256] {path} cannot be read ({error.strerror}). Was it moved meanwhile?"
        ) from None
    return digest.digest()


def contents_of(paths: Iterable[Path]) -> dict[Path, bytes]:
    """SHA-256 of every file.

    Raises:
        DataError: if one cannot be read.
    """
    return {path: file_sha256(path) for path in paths}


def distinct(paths: Sequence[Path], contents: Mapping[Path, bytes]) -> tuple[Path, ...]:
    """The first path of each content, in the order of ``paths``."""
    first: dict[bytes, Path] = {}
    for path in paths:
        first.setdefault(contents[path], path)
    return tuple(first.values())
