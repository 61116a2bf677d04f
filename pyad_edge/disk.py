"""Folders and pictures that are written: refused in time, never left half-written."""

from __future__ import annotations

import contextlib
import errno
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image

from pyad_edge.errors import DataError, ResourceError

__all__ = ["DISK_ERRORS", "prepare_folder", "save_picture"]

DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG)


def prepare_folder(folder: Path) -> None:
    """Make a folder for pictures and try to write there, before the first one needs it.

    Raises:
        DataError: if it is no folder or may not be written.
        ResourceError: if the disk is full or fails.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(4096))
    except OSError as error:
        raise _disk_error(folder, folder, error) from error


def save_picture(path: Path, picture: Any) -> Path:
    """Write an RGB array as PNG, making its folder. No half-written file is left behind.

    Raises:
        DataError: if the folder cannot be made or may not be written.
        ResourceError: if the disk is full or fails.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".tmp")
        try:
            Image.fromarray(picture).save(partial, format="PNG")
            partial.replace(path)
        except BaseException:  # Ctrl-C as well
            with contextlib.suppress(OSError):
                partial.unlink()
            raise
    except OSError as error:
        raise _disk_error(path, path.parent, error) from error
    return path


def _disk_error(path: Path, folder: Path, error: OSError) -> DataError | ResourceError:
    reason = error.strerror or str(error)
    if error.errno in DISK_ERRORS:
        return ResourceError(
            f"[save] {path} could not be written: {reason}. Free some space on that disk, check "
            "it, or choose another --save."
        )
    if isinstance(error, (FileExistsError, NotADirectoryError)):
        return DataError(
            f"[save] {path} could not be written: {folder} is not a folder. Choose another --save."
        )
    return DataError(
        f"[save] {path} could not be written: {reason}. Choose a --save folder that can be made "
        "and that you may write to."
    )
