"""Writes down what is done to a folder, while it is done, for the model of a disk."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from faults.disk_model import Operation

__all__ = ["Recorder"]


class Recorder:
    """Follows ``os`` and files that were opened unbuffered by ``Path.open``.

    Args:
        folder: whose files count.
        monkeypatch: ends it.

    Attributes:
        operations: so far.
    """

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.operations: list[Operation] = []
        self._folder = folder
        self._files: dict[int, int] = {}  # by descriptor; -1: the folder
        self._made = 0
        for name in ("open", "write", "fsync", "rename", "replace", "unlink"):
            monkeypatch.setattr(os, name, self._wrapped(name, getattr(os, name)))
        opened = Path.open

        def open_path(path: Path, mode: str = "r", *args: Any, **more: Any) -> Any:
            file = opened(path, mode, *args, **more)
            if path.parent != self._folder or mode not in ("xb", "wb"):
                return file
            self._create(file.fileno(), path.name)
            return _Followed(file, self)

        monkeypatch.setattr(Path, "open", open_path)

    def wrote(self, descriptor: int, piece: bytes) -> None:
        """Note bytes that a file took."""
        self.operations.append(Operation("write", self._files[descriptor], piece))

    def _create(self, descriptor: int, name: str) -> None:
        self._files[descriptor] = self._made
        self.operations.append(Operation("create", self._made, path=name))
        self._made += 1

    def _wrapped(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **more: Any) -> Any:
            result = real(*args, **more)
            getattr(self, f"_{name}")(result, *args)
            return result

        return call

    def _open(self, descriptor: int, path: Any, flags: int, *_: Any) -> None:
        self._files.pop(descriptor, None)
        if Path(path) == self._folder:
            self._files[descriptor] = -1
        elif flags & os.O_CREAT and Path(path).parent == self._folder:
            self._create(descriptor, Path(path).name)

    def _write(self, written: int, descriptor: int, data: Any) -> None:
        self.wrote(descriptor, bytes(data)[:written])

    def _fsync(self, _: None, descriptor: int) -> None:
        file = self._files[descriptor]
        self.operations.append(Operation("fsync_folder" if file == -1 else "fsync", file))

    def _rename(self, _: None, source: Any, target: Any) -> None:
        source, target = Path(source).name, Path(target).name
        self.operations.append(Operation("rename", path=target, source=source))

    _replace = _rename

    def _unlink(self, _: None, path: Any, **__: Any) -> None:
        self.operations.append(Operation("unlink", path=Path(path).name))


class _Followed:
    """A file whose bytes are noted as they are written."""

    def __init__(self, file: Any, recorder: Recorder) -> None:
        self._file, self._recorder = file, recorder

    def write(self, data: Any) -> int:
        written = int(self._file.write(data))
        self._recorder.wrote(self._file.fileno(), bytes(data)[:written])
        return written

    def __enter__(self) -> _Followed:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)
