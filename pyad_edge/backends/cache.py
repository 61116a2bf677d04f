"""Built things kept between starts: quantised networks, TensorRT plans. They are never shipped.

What lies here is executed, so whoever writes it decides what this process does. The folder and its
files must belong to this user and be writable by nobody else; every file carries the SHA-256 of its
content; names are hashes of everything that the content depends on.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyad_edge.errors import BackendError, ResourceError

__all__ = ["CacheEntry", "cache_folder", "cache_key", "cached", "load", "store"]

_MAGIC = b"pyad_edge cache 1\n"
_MAX_HEADER = 65536


@dataclass(frozen=True)
class CacheEntry:
    """Something built on this machine.

    Attributes:
        content: its bytes, as they were stored.
        about: what its builder noted about it, plain data.
    """

    content: bytes
    about: dict[str, Any]


def cache_folder() -> Path:
    """``$PYAD_EDGE_CACHE``, else ``~/.cache/pyad_edge``; it may not exist yet."""
    folder = os.environ.get("PYAD_EDGE_CACHE")
    return Path(folder) if folder else Path.home() / ".cache" / "pyad_edge"


def cache_key(**parts: str | int | float | list[Any] | dict[str, Any] | None) -> str:
    """SHA-256 in hex over everything that the built thing depends on, as canonical JSON.

    Args:
        parts: plain data by name: the engine's hash, backend, version, device, precision, settings.
    """
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def cached(
    key: str, build: Callable[[], bytes], *, kind: str, about: dict[str, Any] | None = None
) -> bytes:
    """What is stored under a key; built and stored first where there is nothing yet.

    Args:
        key: of `cache_key`.
        build: makes the content; called at most once.
        kind: what it is, in two words for error messages and the file's ending (``plan``).
        about: noted beside it when it is built.

    Raises:
        BackendError: if what is stored is damaged, or could have been written by somebody else.
        ResourceError: if the folder cannot be made or written.
    """
    if (found := load(key, kind=kind)) is not None:
        return found.content
    content = build()
    store(key, content, kind=kind, about=about or {})
    return content


def load(key: str, *, kind: str) -> CacheEntry | None:
    """What is stored under a key; None where there is nothing.

    Raises:
        BackendError: if it is damaged, or it or its folder could have been written by somebody
            else.
    """
    path = _path(key, kind)
    if not path.parent.is_dir():
        return None
    _check_folder(path.parent)
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _refused(path, f"cannot be opened ({error.strerror})") from error
    with os.fdopen(descriptor, "rb") as file:
        _check_owner(path, os.fstat(file.fileno()))
        data = file.read()
    return _unpack(data, path)


def store(key: str, content: bytes, *, kind: str, about: dict[str, Any]) -> Path:
    """Store something under a key, atomically: readers see the old file, the new one, or none.

    Raises:
        BackendError: if the folder could have been written by somebody else.
        ResourceError: if the folder cannot be made or written.
    """
    path = _path(key, kind)
    header = json.dumps(
        {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content), "about": about},
        sort_keys=True,
    ).encode()
    part = None
    try:
        path.parent.parent.parent.mkdir(parents=True, exist_ok=True)
        for folder in (path.parent.parent, path.parent):
            folder.mkdir(mode=0o700, exist_ok=True)
        _check_folder(path.parent)
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".part-")  # mode 0600
        part = Path(name)
        with os.fdopen(descriptor, "wb") as file:
            for piece in (_MAGIC, header, b"\n", content):
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        if part is not None:
            with suppress(OSError):
                part.unlink()
        raise ResourceError(
            f"[cache] cannot write {path} ({error.strerror or error}). Free some disk, or set "
            "PYAD_EDGE_CACHE to a folder that this user may write."
        ) from error
    return path


def _path(key: str, kind: str) -> Path:
    return cache_folder() / "backends" / f"{key}.{kind}"


def _check_folder(folder: Path) -> None:
    """The folder and the one above it, which could exchange it."""
    for each in (folder.parent, folder):
        try:
            state = each.stat()
        except OSError as error:
            raise _refused(each, f"cannot be examined ({error.strerror})") from error
        _check_owner(each, state)


def _check_owner(path: Path, state: os.stat_result) -> None:
    if not hasattr(os, "getuid"):  # Windows: the user's profile is protected by its own lists
        return
    if state.st_uid != os.getuid():
        raise _refused(path, f"belongs to user {state.st_uid}, not to user {os.getuid()}")
    if state.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise _refused(path, f"may be written by others (mode {stat.S_IMODE(state.st_mode):04o})")


def _unpack(data: bytes, path: Path) -> CacheEntry:
    end = data.find(b"\n", len(_MAGIC), len(_MAGIC) + _MAX_HEADER)
    if not data.startswith(_MAGIC) or end < 0:
        raise _damaged(path)
    content = data[end + 1 :]
    try:
        header = json.loads(data[len(_MAGIC) : end])
        sha256, about = header["sha256"], dict(header["about"])
    except (ValueError, KeyError, TypeError) as error:
        raise _damaged(path) from error
    if hashlib.sha256(content).hexdigest() != sha256:
        raise _damaged(path)
    return CacheEntry(content, about)


def _refused(path: Path, what: str) -> BackendError:
    return BackendError(
        f"[cache] {path} {what}, so what is in it cannot be trusted. Make it yours alone (chown, "
        "chmod go-w), or set PYAD_EDGE_CACHE to a folder that is."
    )


def _damaged(path: Path) -> BackendError:
    return BackendError(
        f"[cache] {path} is damaged: it does not match its own SHA-256. Delete it and run "
        "`pyad-edge prepare` again."
    )
