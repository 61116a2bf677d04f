"""Replace a file in one step (POSIX): readers see the old file or the new one, never a part."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from pyad_edge.errors import ResourceError, SettingError

__all__ = ["PARTIAL_SUFFIX", "replace_file"]

PARTIAL_SUFFIX = ".pyad-partial"
_CHUNK = 8 << 20  # bytes per write call, so that Ctrl-C is heard between two

_FOLDER_ERRORS = {
    errno.EACCES,
    errno.EISDIR,
    errno.ENAMETOOLONG,
    errno.ENOENT,
    errno.ENOTDIR,
    errno.EPERM,
    errno.EROFS,
}


def replace_file(
    path: Path, pieces: Iterable[memoryview], *, verify: Callable[[Path], object]
) -> None:
    """Write pieces to a temporary file in the same folder, flush, verify, rename, flush the folder.

    If anything fails, Ctrl-C included, the temporary file is removed. Those that killed writers of
    the same file left behind are removed first: a live writer holds a lock, which dies with it.

    Args:
        path: the file to replace or create; a link is followed.
        pieces: bytes, in order.
        verify: called with the temporary file; what it raises stops the replacement.

    Raises:
        SettingError: if the folder does not exist or may not be written.
        ResourceError: if the disk is full or fails.
    """
    pieces = list(pieces)
    target = Path(os.path.realpath(path))
    try:
        if target.is_dir():
            raise SettingError(f"[write] {path} is a folder. Give the name of a file in it.")
        _remove_abandoned(target)
        _write(target, pieces, verify)
    except OSError as error:
        size = sum(len(piece) for piece in pieces)
        raise _disk_error(path, target.parent, size, error) from error
    _sync_folder(path, target.parent)


def _write(target: Path, pieces: list[memoryview], verify: Callable[[Path], object]) -> None:
    partial = target.with_name(f"{_stem(target)}{secrets.token_hex(8)}{PARTIAL_SUFFIX}")
    try:
        with _open_locked(partial) as descriptor:
            for piece in pieces:
                _write_all(descriptor, piece)
            os.fsync(descriptor)
            verify(partial)
            partial.replace(target)
    finally:
        with contextlib.suppress(OSError):
            partial.unlink()


def _write_all(descriptor: int, data: memoryview) -> None:
    while data:
        data = data[os.write(descriptor, data[:_CHUNK]) :]


@contextlib.contextmanager
def _open_locked(partial: Path) -> Iterator[int]:
    """Create a file and hold its lock, which tells other writers that this one is alive."""
    while True:
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        try:
            with contextlib.suppress(OSError):  # a file system without locks
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            if os.fstat(descriptor).st_nlink:  # else swept away before the lock was ours
                yield descriptor
                return
        finally:
            with contextlib.suppress(OSError):  # what counts was flushed, and may have its name
                os.close(descriptor)


def _remove_abandoned(target: Path) -> None:
    for partial in target.parent.glob(f"{_stem(target)}*{PARTIAL_SUFFIX}"):
        with contextlib.suppress(OSError):  # its writer lives, or somebody else was faster
            descriptor = os.open(partial, os.O_WRONLY)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                partial.unlink()
            finally:
                os.close(descriptor)


def _stem(target: Path) -> str:
    # A digest, not the name: it never grows too long and holds no glob characters.
    return f".{hashlib.sha256(os.fsencode(target.name)).hexdigest()[:12]}-"


def _sync_folder(path: Path, folder: Path) -> None:
    """Make the rename itself outlive a power cut, where the file system can."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno not in {errno.EINVAL, errno.ENOTSUP, errno.EACCES}:
            raise ResourceError(
                f"[write] {path} is saved, but its folder could not be flushed to disk "
                f"({error.strerror}), so a power cut may undo it. Check the disk and save again."
            ) from error


def _disk_error(
    path: Path, folder: Path, size: int, error: OSError
) -> SettingError | ResourceError:
    reason = error.strerror or str(error)
    if error.errno in _FOLDER_ERRORS:
        return SettingError(
            f"[write] {path} cannot be written: {reason}. "
            "Give a file name in a folder that exists and that you may write to."
        )
    try:
        free = f"{shutil.disk_usage(folder).free:,} bytes are free"
    except OSError:
        free = "an unknown number is free"
    return ResourceError(
        f"[write] {path} could not be saved: {reason}. It takes {size:,} bytes, and {free} there. "
        "Free some space or save elsewhere; a file that had this name is still there, unchanged."
    )
