"""A text file that only ever grows by whole lines."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from pyad_edge.disk import DISK_ERRORS
from pyad_edge.errors import DataError, ResourceError

__all__ = ["LineFile"]


class LineFile:
    """Appends blocks of lines. A block that does not fit on the disk is taken back.

    The file is locked where the system can: a second writer would write over the lines of this one.

    Args:
        path: made with its folder if need be. If it ends within a line, as after a power cut, that
            line is ended first.
        first: a new file's first line, without its end; an older file must begin with it.

    Raises:
        DataError: if the file cannot be opened for writing, another program or sink writes to it,
            or it begins otherwise.
        ResourceError: if its disk is full or fails.
    """

    def __init__(self, path: Path, *, first: bytes = b"") -> None:
        self._path = path
        self._torn = False  # part of a block that was refused stands behind the end
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("r+b" if path.exists() else "x+b", buffering=0)
            try:
                _lock(self._file)
                self._end = self._file.seek(0, os.SEEK_END)
                found = self._begin(first)
            except BaseException:
                with suppress(OSError):
                    self._file.close()
                raise
        except OSError as error:
            kind = ResourceError if error.errno in DISK_ERRORS else DataError
            raise kind(
                f"[sink] {path} cannot be written: {error.strerror or error}. Choose another file."
            ) from error
        if not found:
            self._file.close()
            raise DataError(
                f"[sink] {path} begins with other columns than {first.decode()}. Choose another "
                "file."
            )

    def append(self, block: bytes) -> None:
        """Append whole lines.

        Raises:
            OSError: if the disk refuses; nothing of the block is left then, if the disk allows. If
                it does not, the next call removes it first, or raises too.
        """
        if self._torn:
            self._cut()
        self._file.seek(self._end)
        view = memoryview(block)
        try:
            while view:
                view = view[self._file.write(view) :]
        except OSError:
            self._torn = True
            with suppress(OSError):
                self._cut()
            raise
        self._end += len(block)

    def _begin(self, first: bytes) -> bool:
        """End a line that was cut off; whether the file begins, now, with the first line wanted."""
        wanted = first + b"\r\n" if first else b""
        if self._end:
            self._file.seek(0)
            head = self._file.read(len(wanted))
            if len(head) == self._end < len(wanted) and wanted.startswith(head):
                self._end = 0  # a power cut came while the file was new
        if not self._end:
            self.append(wanted)
            return True
        self._file.seek(-1, os.SEEK_END)
        if self._file.read(1) != b"\n":
            self.append(b"\n")
        return head.splitlines()[:1] == wanted.splitlines()[:1]

    def _cut(self) -> None:
        self._file.truncate(self._end)
        self._torn = False

    def close(self) -> None:
        """Sync to the disk and close."""
        try:
            if self._torn:
                self._cut()
            os.fsync(self._file.fileno())
        except OSError:
            if self._path.is_file():  # a device such as /dev/stdout has nothing to sync
                raise
        finally:
            self._file.close()


def _lock(file: BinaryIO) -> None:
    """Refuse a file that somebody else writes to; devices and pipes are shared as ever.

    Raises:
        OSError: that says so.
    """
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        return
    try:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise OSError(error.errno, "another program or sink writes to it") from error
    except (ImportError, OSError):  # Windows, or a file system without locks
        return
