"""Files and folders that this user alone can have written: caches, keys, remembered versions.

Whoever can write a folder can exchange what is in it, so the folder counts as much as the file.
Links are not followed.
"""

from __future__ import annotations

import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

__all__ = ["UnsafeError", "check_folder", "make_folder", "read_private", "write_private"]


class UnsafeError(Exception):
    """Somebody else could have written this; ``path`` and ``what`` are the sentence's begin."""

    def __init__(self, path: Path, what: str) -> None:
        super().__init__(f"{path} {what}")


def check_folder(folder: Path) -> None:
    """Raises:
    UnsafeError: if it is a link or no folder, or another user may write to it.
    """
    try:
        state = folder.lstat()
    except OSError as error:
        raise UnsafeError(folder, f"cannot be examined ({error.strerror})") from error
    if stat.S_ISLNK(state.st_mode):
        raise UnsafeError(folder, "is a link")
    if not stat.S_ISDIR(state.st_mode):
        raise UnsafeError(folder, "is no folder")
    _check(folder, state)


def make_folder(folder: Path) -> None:
    """Make a folder with mode 0700, those above it as usual, and check it.

    Raises:
        UnsafeError: if it is there and not this user's alone to write.
        OSError: if it cannot be made.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileExistsError):  # also a link; the check tells
        folder.mkdir(mode=0o700)
    check_folder(folder)


def read_private(path: Path, *, secret: bool = False, limit: int | None = None) -> bytes | None:
    """A file's bytes; None where there is none.

    Args:
        path: of the file; its folder is the caller's to check.
        secret: whether other users must not even read it.
        limit: bytes that are read at most.

    Raises:
        UnsafeError: if it is a link, no regular file, or another user may write it; if it cannot be
            read.
    """
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        descriptor = os.open(path, flags)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UnsafeError(path, f"cannot be opened ({error.strerror})") from error
    try:
        with os.fdopen(descriptor, "rb") as file:
            state = os.fstat(descriptor)
            if not stat.S_ISREG(state.st_mode):
                raise UnsafeError(path, "is no regular file")
            _check(path, state, secret=secret)
            return file.read() if limit is None else file.read(limit)
    except OSError as error:
        raise UnsafeError(path, f"cannot be read ({error.strerror or error})") from error


def write_private(
    path: Path, *pieces: bytes, replace: bool = True, everybody_reads: bool = False
) -> None:
    """Write a file with mode 0600, atomically: readers see the old one, the new one, or none.

    Args:
        path: in a folder that is there.
        pieces: its content, in order.
        replace: whether an older file gives way.
        everybody_reads: mode 0644 instead.

    Raises:
        FileExistsError: if one is there that does not give way.
        OSError: if it cannot be written; nothing is left behind.
    """
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".part-")  # mode 0600
    part = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            for piece in pieces:
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        if everybody_reads:
            part.chmod(0o644)
        if replace:
            part.replace(path)
        else:
            os.link(part, path)  # fails where there is one, in one step
            for _ in range(2):  # the file is there now: a second name of it is no failure
                with suppress(OSError):
                    part.unlink(missing_ok=True)
    except BaseException:  # Ctrl-C as well
        with suppress(OSError):
            part.unlink()
        raise
    with suppress(OSError):  # a file system that cannot; a power cut may then undo the rename
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _check(path: Path, state: os.stat_result, *, secret: bool = False) -> None:
    if not hasattr(os, "getuid"):  # Windows: the user's profile is protected by its own lists
        return
    if state.st_uid != os.getuid():
        raise UnsafeError(path, f"belongs to user {state.st_uid}, not to user {os.getuid()}")
    mode = stat.S_IMODE(state.st_mode)
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise UnsafeError(path, f"may be written by others (mode {mode:04o})")
    if secret and mode & (stat.S_IRGRP | stat.S_IROTH):
        raise UnsafeError(path, f"may be read by others (mode {mode:04o})")
