"""A queue on disk: what could not be delivered yet waits here, also for the next start."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from pyad_edge.errors import ResourceError

__all__ = ["Spool", "SpoolFullError"]

SEGMENT_BYTES = 256 * 1024
_FIRST_SEGMENT = 1_000_000  # leaves numbers for what has to go before it


class SpoolFullError(OSError):
    """The bound of the spool is reached."""


class Spool:
    """Lines in order, in a folder of segment files, bounded. Thread-safe; calls wait for the disk.

    A line counts as stored once it was handed to the operating system: it outlives a crash of the
    program. Segments are synced to the disk when they are complete (256 KiB) and at :meth:`close`:
    a power cut may cost the last one. A segment is deleted when all of its lines were acknowledged;
    after a crash the lines of one started segment come again.

    Args:
        folder: made if need be; used by one spool at a time, locked where the system can.
        max_bytes: of all segments.

    Attributes:
        damaged: lines cut off by a crash, found at open and left out.

    Raises:
        ResourceError: if the folder cannot be used, or another program uses it.
    """

    def __init__(self, folder: Path, *, max_bytes: int = 64 << 20) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._guard = threading.Lock()
        self._file: BinaryIO | None = None  # the newest segment, while it grows
        self._head: deque[bytes] = deque()  # lines of the oldest segment, not yet acknowledged
        self._head_path: Path | None = None
        self._segments: deque[tuple[Path, int, int]] = deque()  # path, lines, bytes
        self.damaged = 0
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock_file = _lock(folder / "lock")
            for path in sorted(p for p in folder.glob("*.jsonl") if p.stem.isdecimal()):
                content = path.read_bytes()
                self._segments.append((path, content.count(b"\n"), len(content)))
                self.damaged += bool(content) and not content.endswith(b"\n")
        except OSError as error:
            raise ResourceError(
                f"[outbox] {folder} cannot be used: {error.strerror or error}. Choose another "
                "--outbox folder, one for each program."
            ) from error
        self._next = int(self._segments[-1][0].stem) + 1 if self._segments else _FIRST_SEGMENT

    def __len__(self) -> int:
        """Lines waiting."""
        with self._guard:
            return len(self._head) + sum(lines for _, lines, _ in self._segments)

    def append(self, lines: Sequence[bytes]) -> None:
        """Store lines, all of them or none.

        Args:
            lines: without a line break.

        Raises:
            SpoolFullError: if they would exceed the bound.
            OSError: if the disk refuses.
        """
        block = b"".join(line + b"\n" for line in lines)
        with self._guard:
            used = sum(size for _, _, size in self._segments)
            used += sum(map(len, self._head))
            if used + len(block) > self._max_bytes:
                raise SpoolFullError(
                    f"the outbox {self._folder} holds its {self._max_bytes:,} bytes"
                )
            if self._file is None:
                path = self._folder / f"{self._next:012d}.jsonl"
                self._file = path.open("xb", buffering=0)
                self._next += 1
                self._segments.append((path, 0, 0))
            path, count, size = self._segments[-1]
            try:
                _write_all(self._file, block)
            except OSError:
                with suppress(OSError):
                    self._file.truncate(size)
                self._finish()  # whatever stands there now, nothing follows it
                raise
            self._segments[-1] = (path, count + len(lines), size + len(block))
            if size + len(block) >= SEGMENT_BYTES:
                self._finish()

    def prepend(self, lines: Sequence[bytes]) -> None:
        """Store lines before all others, while no line was peeked and not acknowledged.

        Args:
            lines: without a line break.

        Raises:
            OSError: if the disk refuses, or lines were peeked; nothing is stored then.
        """
        block = b"".join(line + b"\n" for line in lines)
        with self._guard:
            if self._head:
                raise OSError("lines of this outbox are being delivered")
            oldest = int(self._segments[0][0].stem) if self._segments else self._next
            path = self._folder / f"{oldest - 1:012d}.jsonl"
            try:
                with path.open("xb", buffering=0) as file:
                    _write_all(file, block)
                    os.fsync(file.fileno())
            except OSError:
                path.unlink(missing_ok=True)
                raise
            self._segments.appendleft((path, len(lines), len(block)))

    def peek(self, most: int) -> list[bytes]:
        """The oldest lines, which stay until they are acknowledged."""
        with self._guard:
            while not self._head and self._segments:
                if len(self._segments) == 1:
                    self._finish()
                path, count, _ = self._segments[0]
                content = path.read_bytes()
                self._segments.popleft()
                self._head_path = path
                # What follows was cut off by a crash or a full disk.
                self._head.extend(content.split(b"\n")[:count])
                if not self._head:
                    path.unlink(missing_ok=True)
            return [self._head[i] for i in range(min(most, len(self._head)))]

    def acknowledge(self, count: int) -> None:
        """Forget the oldest ``count`` lines: they were delivered."""
        with self._guard:
            for _ in range(count):
                self._head.popleft()
            if not self._head and self._head_path is not None:
                self._head_path.unlink(missing_ok=True)
                self._head_path = None

    def close(self) -> None:
        """Sync, and leave exactly the lines that were not acknowledged."""
        with self._guard:
            self._finish()
            if self._head and self._head_path is not None:
                partial = self._head_path.with_suffix(".tmp")
                with suppress(OSError):  # the whole segment stays: its lines come again
                    with partial.open("wb") as file:
                        file.write(b"".join(line + b"\n" for line in self._head))
                        file.flush()
                        os.fsync(file.fileno())
                    partial.replace(self._head_path)
            self._lock_file.close()

    def _finish(self) -> None:
        if self._file is not None:
            file, self._file = self._file, None
            with suppress(OSError):
                os.fsync(file.fileno())
            file.close()


def _write_all(file: BinaryIO, block: bytes) -> None:
    view = memoryview(block)
    while view:
        view = view[file.write(view) :]


def _lock(path: Path) -> BinaryIO:
    file = path.open("ab")
    try:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except ImportError:  # Windows: the user keeps the folders apart
        pass
    except OSError as error:
        file.close()
        raise OSError(error.errno, "another program uses this outbox") from error
    return file
