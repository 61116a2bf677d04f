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
_MOST_READS = 3  # of a segment that cannot be read, before those behind it have their turn


class SpoolFullError(OSError):
    """The bound of the spool is reached."""


class Spool:
    """Lines in order, in a folder of segment files, bounded. Thread-safe; calls wait for the disk.

    A line counts as stored once it was handed to the operating system: it outlives a crash of the
    program. Segments are synced to the disk when they are complete (256 KiB) and at :meth:`close`:
    a power cut may cost the last one. A segment is deleted when all of its lines were acknowledged;
    after a crash the lines of one started segment come again, and so do those of segments that the
    disk would not delete. A segment that cannot be read three times in a row goes behind all
    others, and is tried again when they were delivered.

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
        self._spent: deque[Path] = deque()  # of no use any more, not deleted yet
        self._unread = 0  # attempts in a row to read the oldest segment
        self.damaged = 0
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock_file = _lock(folder / "lock")
            try:
                self._look()
            except BaseException:
                self._lock_file.close()
                raise
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
                path = self._path(self._next)
                self._next += 1  # also where this fails: the file may be there all the same
                self._file = path.open("xb", buffering=0)
                self._segments.append((path, 0, 0))
            path, count, size = self._segments[-1]
            try:
                _write_all(self._file, block)
            except OSError:
                with suppress(OSError):
                    self._file.truncate(size)
                self._finish()  # whatever stands there now, nothing follows it
                if not count:  # or a disk that stays full gets an empty file at every attempt
                    self._segments.pop()
                    self._delete(path)
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
            number = int(self._segments[0][0].stem) if self._segments else self._next
            while (path := self._path(number := number - 1)).exists():
                pass  # delivered, but the disk would not delete it
            try:
                with path.open("xb", buffering=0) as file:
                    _write_all(file, block)
                    os.fsync(file.fileno())
            except OSError:
                self._delete(path)
                raise
            self._sync_folder()
            self._segments.appendleft((path, len(lines), len(block)))

    def peek(self, most: int) -> list[bytes]:
        """The oldest lines, which stay until they are acknowledged.

        Raises:
            OSError: if their segment cannot be read; its lines are kept.
        """
        with self._guard:
            while not self._head and self._segments:
                if len(self._segments) == 1:
                    self._finish()
                path, count, _ = self._segments[0]
                content = self._read(path)
                self._segments.popleft()
                # What follows was cut off by a crash or a full disk. Lines that the disk lost are
                # empty ones: every line that was counted comes out.
                found = content.split(b"\n")[:-1][:count]
                self._head.extend(found + [b""] * (count - len(found)))
                self._head_path = path
                if not self._head:
                    self._forget_head()
            return [self._head[i] for i in range(min(most, len(self._head)))]

    def acknowledge(self, count: int) -> None:
        """Forget the oldest ``count`` lines: they were delivered."""
        with self._guard:
            for _ in range(count):
                self._head.popleft()
            if not self._head:
                self._forget_head()

    def close(self) -> None:
        """Sync, and leave exactly the lines that were not acknowledged."""
        with self._guard:
            self._finish()
            for _ in range(len(self._spent)):
                self._delete(self._spent.popleft())
            if self._head and self._head_path is not None:
                partial = self._head_path.with_suffix(".tmp")
                try:
                    with partial.open("wb") as file:
                        file.write(b"".join(line + b"\n" for line in self._head))
                        file.flush()
                        os.fsync(file.fileno())
                    partial.replace(self._head_path)
                    self._sync_folder()
                except OSError:  # the whole segment stays: its lines come again
                    self._delete(partial)
            with suppress(OSError):
                self._lock_file.close()

    def _read(self, path: Path) -> bytes:
        """The oldest segment's bytes; one that cannot be read holds up the others for a while."""
        try:
            content = path.read_bytes()
        except OSError:
            self._unread += 1
            if self._unread >= _MOST_READS:
                self._unread = 0
                self._finish()  # nothing is appended behind it
                self._segments.rotate(-1)
            raise
        self._unread = 0
        return content

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:012d}.jsonl"

    def _look(self) -> None:
        """Find what an earlier program left."""
        ours = sorted(path for path in self._folder.iterdir() if path.stem.isdecimal())
        for path in ours:
            if path.suffix == ".tmp":  # of a crash while it was closed
                self._delete(path)
        for path in (path for path in ours if path.suffix == ".jsonl"):
            content = path.read_bytes()
            self._segments.append((path, content.count(b"\n"), len(content)))
            self.damaged += bool(content) and not content.endswith(b"\n")

    def _forget_head(self) -> None:
        if self._head_path is not None:
            self._delete(self._head_path)
            self._head_path = None

    def _delete(self, path: Path) -> None:
        """Delete a file, or try again with the next one."""
        self._spent.append(path)
        for _ in range(min(2, len(self._spent))):
            spent = self._spent.popleft()
            try:
                spent.unlink(missing_ok=True)
            except OSError:
                self._spent.append(spent)

    def _finish(self) -> None:
        if self._file is not None:
            file, self._file = self._file, None
            with suppress(OSError):
                os.fsync(file.fileno())
            with suppress(OSError):  # its lines are handed over all the same
                file.close()
            self._sync_folder()

    def _sync_folder(self) -> None:
        """A file whose name a power cut takes away is lost with its bytes."""
        with suppress(OSError):  # a file system, or Windows, that cannot
            descriptor = os.open(self._folder, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


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
    except BlockingIOError as error:
        file.close()
        raise OSError(error.errno, "another program uses this outbox") from error
    except OSError:  # a file system without locks
        file.close()
        raise
    return file
