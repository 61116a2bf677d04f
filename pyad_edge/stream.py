"""Where frames come from: a folder, a picture, a video file, a camera.

Every source yields one ``Frame`` for every frame it was meant to deliver. A frame that could not
be read is yielded with its ``error`` and without an image: a lost frame is never skipped, and
never becomes "OK".
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import cv2
import numpy.typing as npt

from pyad_edge.errors import DataError
from pyad_edge.frame_files import read_frame
from pyad_edge.images import IMAGE_SUFFIXES, list_images
from pyad_edge.streaming.decoded import as_declared
from pyad_edge.streaming.frames import Frame

__all__ = ["Frame", "Source", "open_source"]

_CAMERA_FAULTS = 10
_CAMERA_PAUSE = 0.1


class Source:
    """An open source of frames: iterate over it once, then close it (or use ``with``).

    Attributes:
        kind: "folder", "image", "video" or "camera".
        length: Number of frames, or None where it is not known beforehand.
    """

    def __init__(
        self,
        kind: Literal["folder", "image", "video", "camera"],
        frames: Iterator[Frame],
        *,
        length: int | None,
        release: Callable[[], object] = lambda: None,
    ) -> None:
        """Wrap an iterator of frames; ``release`` frees the device or file."""
        self.kind = kind
        self.length = length
        self._frames = frames
        self._release = release
        self._closed = False

    def __iter__(self) -> Iterator[Frame]:
        """Return the source itself; frames are delivered once."""
        return self

    def __next__(self) -> Frame:
        """Read the next frame; a closed source has none."""
        if self._closed:
            raise StopIteration
        return next(self._frames)

    def __enter__(self) -> Source:
        """Return the source; leaving the block closes it."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the source."""
        self.close()

    def close(self) -> None:
        """Release the camera or file; closing twice is harmless."""
        if not self._closed:
            self._closed = True
            self._release()


def open_source(spec: str | Path, *, pixel_format: str | None = None) -> Source:
    """Open a source of frames; what cannot be opened is refused here, not at the first frame.

    Args:
        spec: A folder (its pictures in sorted order), one picture, a video file, or a camera
            as "camera:0" or "0". For a folder that is itself called "0" write "./0".
        pixel_format: that pictures are read in, by its PFNC name; None: 8-bit RGB. Videos and
            cameras are converted to it where it holds the same information.

    Returns:
        A source that yields ``Frame``; an unreadable picture or lost frame is a ``Frame`` with
        ``error``.

    Raises:
        DataError: Nothing is there, a folder without pictures, a video or camera that cannot be
            opened. While iterating: a camera that failed 10 times in a row.
    """
    text = str(spec)
    camera = text.removeprefix("camera:")
    # A Path is never a camera: open_source(Path("0")) means the folder.
    if isinstance(spec, str) and camera.isascii() and camera.isdigit():
        return _open_camera(int(camera), pixel_format)
    path = Path(spec)
    if path.is_dir():
        return _open_folder(path, pixel_format)
    if not path.exists():
        raise DataError(
            f"[open_source] there is no {text!r}. Give a folder of pictures, a picture, a video "
            'file, or a camera as "camera:0".'
        )
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return Source("image", _read_files([path], pixel_format), length=1)
    return _open_video(path, pixel_format)


def _open_folder(folder: Path, pixel_format: str | None) -> Source:
    paths = list_images(folder)
    if not paths:
        raise DataError(
            f"[open_source] folder {folder} holds no pictures ({', '.join(IMAGE_SUFFIXES)}); "
            "sub-folders are not searched. Name the folder that holds them."
        )
    return Source("folder", _read_files(paths, pixel_format), length=len(paths))


def _read_files(paths: list[Path], pixel_format: str | None) -> Iterator[Frame]:
    for index, path in enumerate(paths):
        try:
            yield Frame(index, str(path), read_frame(path, pixel_format))
        except DataError as error:
            yield Frame(index, str(path), None, error=str(error))


def _open_video(path: Path, pixel_format: str | None) -> Source:
    capture = cv2.VideoCapture(str(path))
    if not capture.isOpened():
        capture.release()
        raise DataError(
            f"[open_source] {path} cannot be opened as a video: damaged, cut off, or in a format "
            "that this OpenCV does not decode. Try converting it to MP4 (H.264) or AVI (MJPEG)."
        )
    announced = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    length = announced if announced > 0 else None
    frames = _read_video(capture, str(path), length, pixel_format)
    return Source("video", frames, length=length, release=capture.release)


def _read_video(
    capture: cv2.VideoCapture, name: str, announced: int | None, pixel_format: str | None
) -> Iterator[Frame]:
    index = 0
    while True:
        ok, decoded = capture.read()
        if not ok:
            break
        yield _convert(index, f"{name}#{index}", decoded, pixel_format)
        index += 1
    # read() says "no" alike at the end and at a damaged place; only the container's frame count
    # tells them apart. Some containers estimate it from the duration, hence the tolerance.
    if index == 0 or (announced is not None and announced - index > max(1, announced // 100)):
        yield Frame(
            index,
            f"{name}#{index}",
            None,
            error=f"[open_source] {name} gave {index} frames, its header announces "
            f"{announced if announced is not None else 'no number'}: the file is cut off or "
            "damaged from here on.",
        )


def _open_camera(number: int, pixel_format: str | None) -> Source:
    capture = cv2.VideoCapture(number)
    if not capture.isOpened():
        capture.release()
        raise DataError(
            f"[open_source] camera {number} cannot be opened. Is it plugged in, free (no other "
            "program using it), and may this user read it? On Linux look for "
            f"/dev/video{number}."
        )
    frames = _read_camera(capture, number, pixel_format)
    return Source("camera", frames, length=None, release=capture.release)


def _read_camera(
    capture: cv2.VideoCapture, number: int, pixel_format: str | None
) -> Iterator[Frame]:
    index, faults = 0, 0
    while True:
        name = f"camera:{number}#{index}"
        ok, decoded = capture.read()
        if ok:
            faults = 0
            yield _convert(index, name, decoded, pixel_format)
        else:
            faults += 1
            error = f"[open_source] camera {number} delivered no frame ({faults} in a row)."
            yield Frame(index, name, None, error=error)
            if faults == _CAMERA_FAULTS:
                raise DataError(
                    f"[open_source] camera {number} failed {faults} times in a row. "
                    "Check its cable and power, then start again."
                )
            time.sleep(_CAMERA_PAUSE)
        index += 1


def _convert(index: int, name: str, decoded: npt.NDArray[Any], pixel_format: str | None) -> Frame:
    """The picture as the engine declares it, or a fault: never a guess."""
    image, why = as_declared(decoded, pixel_format)
    error = f"[open_source] {name}: {why}" if image is None else None
    return Frame(index, name, image, error=error)
