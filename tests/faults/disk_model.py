"""A disk in memory that forgets what was never flushed: every state that a power cut may leave.

Rules, those of POSIX and no more: bytes of a file are safe after ``fsync`` of it; names in a folder
are safe after ``fsync`` of the folder. What is not safe may be there whole, in part, as zeros, or
not at all, and names may change in any combination.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field

__all__ = ["Operation", "states_after"]


@dataclass(frozen=True)
class Operation:
    """One call.

    Attributes:
        name: create, write, fsync, rename, unlink or fsync_folder.
        file: number of the file (inode), for the first three.
        data: that is written.
        path: name that is created, removed, or renamed to.
        source: name that is renamed.
    """

    name: str
    file: int = -1
    data: bytes = b""
    path: str = ""
    source: str = ""


@dataclass
class _File:
    safe: bytes = b""
    unsafe: list[bytes] = field(default_factory=list)

    def contents(self) -> set[bytes]:
        """What may be read after a power cut."""
        whole = self.safe + b"".join(self.unsafe)
        found = {self.safe, whole, self.safe + bytes(len(whole) - len(self.safe))}
        text = self.safe
        for piece in self.unsafe:
            found |= {text, text + piece[: len(piece) // 2], text + bytes(len(piece))}
            text += piece
        return found


def states_after(operations: list[Operation], old: dict[str, bytes]) -> Iterator[dict[str, bytes]]:
    """All contents of the folder that a power cut after these operations may leave.

    Args:
        operations: that were called, in order.
        old: safe content by name before the first one.
    """
    files = {-2 - n: _File(content) for n, content in enumerate(old.values())}
    safe: dict[str, int] = dict(zip(old, files, strict=True))
    names = dict(safe)
    pending: list[dict[str, int | None]] = []  # each a change of names, whole or not at all
    for operation in operations:
        change: dict[str, int | None] = {}
        if operation.name == "create":
            files[operation.file] = _File()
            change = {operation.path: operation.file}
        elif operation.name == "write":
            files[operation.file].unsafe.append(operation.data)
        elif operation.name == "fsync":
            file = files[operation.file]
            file.safe, file.unsafe = file.safe + b"".join(file.unsafe), []
        elif operation.name == "rename":
            change = {operation.path: names[operation.source], operation.source: None}
        elif operation.name == "unlink":
            change = {operation.path: None}
        elif operation.name == "fsync_folder":
            safe, pending = dict(names), []
        if change:
            pending.append(change)
            _apply(names, change)
    for kept in itertools.product((False, True), repeat=len(pending)):
        after = dict(safe)
        for change, survives in zip(pending, kept, strict=True):
            if survives:
                _apply(after, change)
        choices = [sorted(files[number].contents()) for number in after.values()]
        for contents in itertools.product(*choices):
            yield dict(zip(after, contents, strict=True))


def _apply(names: dict[str, int], change: dict[str, int | None]) -> None:
    for path, number in change.items():
        if number is None:
            names.pop(path, None)
        else:
            names[path] = number
