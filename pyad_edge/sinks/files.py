"""A text file that only ever grows by whole lines."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from pyad_edge.disk import DISK_ERRORS
from pyad_edge.errors import DataError, ResourceError

__all__ = ["LineFile"]


class LineFile:
    """Appends blocks of lines. A block that does not fit on the disk is taken back.

    Args:
        path: made with its folder if need be. If it ends within a line, as after a power cut, that
            line is ended first.

    Attributes:
        empty: whether the file had no content when it was opened.

    Raises:
        DataError: if the file cannot be opened for writing.
        ResourceError: if its disk is full or fails.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("r+b" if path.exists() else "x+b", buffering=0)
            self._end = self._file.seek(0, os.SEEK_END)
            self.empty = self._end == 0
            if not self.empty:
                self._file.seek(-1, os.SEEK_END)
                if self._file.read(1) != b"\n":
                    self.append(b"\n")
        except OSError as error:
            kind = ResourceError if error.errno in DISK_ERRORS else DataError
            raise kind(
                f"[sink] {path} cannot be written: {error.strerror or error}. Choose another file."
            ) from error

    def first_line(self) -> bytes:
        """The first line, without its end."""
        self._file.seek(0)
        return self._file.read(65536).split(b"\n", 1)[0].rstrip(b"\r")

    def append(self, block: bytes) -> None:
        """Append whole lines.

        Raises:
            OSError: if the disk refuses; nothing of the block is left then, if the disk allows.
        """
        self._file.seek(self._end)
        view = memoryview(block)
        try:
            while view:
                view = view[self._file.write(view) :]
        except OSError:
            with suppress(OSError):
                self._file.truncate(self._end)
            raise
        self._end += len(block)

    def close(self) -> None:
        """Sync to the disk and close."""
        try:
            os.fsync(self._file.fileno())
        except OSError:
            if self._path.is_file():  # a device such as /dev/stdout has nothing to sync
                raise
        finally:
            self._file.close()
