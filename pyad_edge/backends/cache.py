"""Built things kept between starts: quantised networks, TensorRT plans. They are never shipped.

What lies here is executed, so whoever writes it decides what this process does. The folder and its
files must belong to this user and be writable by nobody else, and are no links. Every file carries
an HMAC-SHA256 of its name and content under a random key of this machine, so a file that was
copied here or under another name is refused; names are hashes of everything that the content
depends on.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyad_edge.errors import BackendError, ResourceError
from pyad_edge.private_files import (
    UnsafeError,
    check_folder,
    make_folder,
    read_private,
    write_private,
)

__all__ = ["CacheEntry", "cache_folder", "cache_key", "cached", "load", "store"]

_MAGIC = b"pyad_edge cache 2\n"
_EARLIER = b"pyad_edge cache 1\n"  # without a key: as if it were not there
_MAX_HEADER = 65536
_KEY_FILE, _KEY_BYTES = "device.key", 32


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
        ResourceError: if the disk fails.
    """
    path = _path(key, kind)
    try:
        if not path.parent.is_dir():
            return None
        for folder in (path.parent.parent, path.parent):  # the upper one could exchange the other
            check_folder(folder)
        data = read_private(path)
        if data is None or data.startswith(_EARLIER):
            return None
        return _unpack(data, path)
    except UnsafeError as error:
        raise _refused(error) from error
    except OSError as error:
        raise ResourceError(
            f"[cache] cannot read {path} ({error.strerror or error}). Check that disk, or set "
            "PYAD_EDGE_CACHE to another folder."
        ) from error


def store(key: str, content: bytes, *, kind: str, about: dict[str, Any]) -> Path:
    """Store something under a key, atomically: readers see the old file, the new one, or none.

    Raises:
        BackendError: if the folder could have been written by somebody else.
        ResourceError: if the folder cannot be made or written.
    """
    path = _path(key, kind)
    text = json.dumps(about, sort_keys=True)
    try:
        path.parent.parent.parent.mkdir(parents=True, exist_ok=True)
        for folder in (path.parent.parent, path.parent):
            make_folder(folder)
        seal = _seal(_device_key(path.parent, make=True), path.name, text, content)
        header = json.dumps({"hmac": seal, "about": text}).encode()
        write_private(path, _MAGIC, header, b"\n", content)
    except UnsafeError as error:
        raise _refused(error) from error
    except OSError as error:
        raise ResourceError(
            f"[cache] cannot write {path} ({error.strerror or error}). Free some disk, or set "
            "PYAD_EDGE_CACHE to a folder that this user may write."
        ) from error
    return path


def _path(key: str, kind: str) -> Path:
    return cache_folder() / "backends" / f"{key}.{kind}"


def _device_key(folder: Path, *, make: bool) -> bytes:
    """The key of this machine and user; never leaves the folder.

    Raises:
        BackendError: if there is none, or it is damaged.
        UnsafeError: if others may read or write it.
    """
    path = folder / _KEY_FILE
    if make and not path.exists():
        with suppress(FileExistsError):  # another process was faster
            write_private(path, secrets.token_bytes(_KEY_BYTES), replace=False)
    key = read_private(path, secret=True)
    if key is None or len(key) != _KEY_BYTES:
        raise BackendError(
            f"[cache] the key {path} is {'missing' if key is None else 'damaged'}, so nobody can "
            f"tell whether what lies in {folder} was made here. Delete that folder and run "
            "`pyad-edge prepare` again."
        )
    return key


def _seal(key: bytes, name: str, about: str, content: bytes) -> str:
    """HMAC-SHA256 in hex over name, note and content, none of which can pass for another."""
    digest = hashlib.sha256(content).hexdigest()
    message = json.dumps(["pyad_edge cache 2", name, about, digest]).encode()
    return hmac.new(key, message, hashlib.sha256).hexdigest()


def _unpack(data: bytes, path: Path) -> CacheEntry:
    end = data.find(b"\n", len(_MAGIC), len(_MAGIC) + _MAX_HEADER)
    if not data.startswith(_MAGIC) or end < 0:
        raise _damaged(path)
    content = data[end + 1 :]
    try:
        header = json.loads(data[len(_MAGIC) : end])
        seal, text = header["hmac"], header["about"]
        about = dict(json.loads(text))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise _damaged(path) from error
    wanted = _seal(_device_key(path.parent, make=False), path.name, text, content)
    if not isinstance(seal, str) or not hmac.compare_digest(seal.encode(), wanted.encode()):
        raise _damaged(path)
    return CacheEntry(content, about)


def _refused(error: UnsafeError) -> BackendError:
    return BackendError(
        f"[cache] {error}, so what is in it cannot be trusted. Make it yours alone (chown, chmod "
        "go-w; a key also go-r), or set PYAD_EDGE_CACHE to a folder that is."
    )


def _damaged(path: Path) -> BackendError:
    return BackendError(
        f"[cache] {path} is damaged, or was not made on this machine: it does not match its "
        "HMAC-SHA256. Delete it and run `pyad-edge prepare` again."
    )
