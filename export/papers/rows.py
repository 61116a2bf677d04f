"""Finished measurements on disk, one file each: there as a whole, or not at all."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from fcntl import LOCK_EX, LOCK_NB, flock
from pathlib import Path
from typing import Any

from pyad_edge.disk import prepare_folder
from pyad_edge.errors import DataError, SettingError
from pyad_edge.export.atomic_file import replace_file
from pyad_edge.export.datasets import Category

__all__ = ["data_digest", "locked", "read_row", "row_name", "write_json"]


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Make the folder, and keep other processes out of it; a lock dies with its process.

    Raises:
        SettingError: if another process works in it.
        DataError: if it cannot be made.
    """
    prepare_folder(folder)
    with (folder / ".lock").open("w") as file:
        try:
            flock(file, LOCK_EX | LOCK_NB)
        except BlockingIOError:
            raise SettingError(
                f"[bench papers] another process works in {folder}. Wait for it, or give another "
                "folder with --out."
            ) from None
        yield


def row_name(identity: dict[str, Any]) -> str:
    """A name for people, and a digest of all that decides a figure."""
    text = json.dumps(identity, sort_keys=True)
    parts = (
        identity["contender"]["method"],
        identity["contender"]["network"],
        identity["category"],
        f"s{identity['seed']}",
        hashlib.sha256(text.encode()).hexdigest()[:12],
    )
    return re.sub(r"[^A-Za-z0-9._-]+", "_", "-".join(str(part) for part in parts if part))


def data_digest(category: Category) -> str:
    """SHA-256 over the names and sizes of a category's pictures, wherever they lie."""
    paths = [*category.train, *(picture.path for picture in category.test)]
    lines = [f"{path.parent.name}/{path.name} {path.stat().st_size}" for path in paths]
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()


def read_row(file: Path) -> dict[str, Any] | None:
    """A finished measurement; None: there is none.

    Raises:
        DataError: if the file is something else.
    """
    if not file.exists():
        return None
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(content, dict) or "image_auroc" not in content:
            raise ValueError("it has no image_auroc")
    except (OSError, ValueError) as error:
        raise DataError(
            f"[bench papers] {file} is no finished measurement: {error}. Delete it to measure anew."
        ) from error
    return content


def write_json(file: Path, content: Any) -> None:
    """Write plain data in one step.

    Raises:
        ResourceError: if the disk is full.
    """
    data = (json.dumps(content, indent=1, allow_nan=False) + "\n").encode()
    replace_file(file, [memoryview(data)], verify=lambda written: None)
