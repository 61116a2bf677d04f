"""Frames for two forms alike: the engine's golden frames, and pictures of a folder."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pyad_edge.errors import DataError
from pyad_edge.frame_files import read_frame
from pyad_edge.images import list_images
from pyad_edge.runtime import Runtime

__all__ = ["Frame", "folder_frames", "golden_frames"]


@dataclass(frozen=True, eq=False)
class Frame:
    """A frame and where it is from.

    Attributes:
        name: of the file below its folder, or ``golden 0``.
        values: as the engine takes it, of the export's size; colours have three channels.
        resized: whether it was made that size here.
    """

    name: str
    values: NDArray[Any]
    resized: bool


def golden_frames(runtime: Runtime, size: tuple[int, int] | None) -> list[Frame]:
    """The frames that every engine carries.

    Args:
        runtime: of the engine.
        size: (H, W) of the export's frames; None: any.
    """
    frames = runtime.engine.tensors["golden/frames"]
    return [_fitted(f"golden {n}", frame, runtime, size) for n, frame in enumerate(frames)]


def folder_frames(
    folder: Path, runtime: Runtime, size: tuple[int, int] | None
) -> tuple[int, Iterator[Frame]]:
    """How many pictures there are in a folder and below it, and their frames, one by one.

    Args:
        folder: of any pictures, good or not.
        runtime: of the engine.
        size: (H, W) of the export's frames; None: any.

    Raises:
        DataError: if there are none, or one cannot be read.
    """
    paths = list_images(folder, recursive=True)
    if not paths:
        raise DataError(
            f"[export] {folder} has no pictures to verify with. Name a folder of pictures, good "
            "or not, as --verify FOLDER."
        )

    def read() -> Iterator[Frame]:
        pixel_format = runtime.info["input"]["pixel_format"]
        for path in paths:
            values = read_frame(path, pixel_format)
            if pixel_format is None and runtime.info["color_order"] == "bgr":
                values = values[..., ::-1]  # files are RGB where no format is declared
            yield _fitted(path.relative_to(folder).as_posix(), values, runtime, size)

    return len(paths), read()


def _fitted(
    name: str, values: NDArray[Any], runtime: Runtime, size: tuple[int, int] | None
) -> Frame:
    if runtime.info["input"]["pixel_format"] is None and (values.ndim == 2 or values.shape[2] == 1):
        values = np.broadcast_to(values.reshape(*values.shape[:2], 1), (*values.shape[:2], 3))
    resized = size is not None and values.shape[:2] != size
    if resized and size is not None:
        shrinks = values.shape[0] > size[0] or values.shape[1] > size[1]
        values = cv2.resize(
            np.ascontiguousarray(values),
            (size[1], size[0]),
            interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR,
        )
    return Frame(name, np.ascontiguousarray(values), resized)
