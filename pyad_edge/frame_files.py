"""Still pictures as frames of a declared pixel format, as the camera would have sent them.

A recorded frame must be the frame: files of more than 8 bits, mosaics and floats are read as they
are stored, nothing is scaled, turned or filled in.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pyad_edge.errors import DataError
from pyad_edge.images import guarded_picture, read_image
from pyad_edge.pixel_formats import PIXEL_FORMATS, PixelFormat

__all__ = ["read_frame"]

_PLANES = ("1", "L", "I;16", "I;16B", "I;16L", "I", "F")
_ORIENTATION = 0x0112  # EXIF


def read_frame(path: str | Path, pixel_format: str | None = None) -> NDArray[Any]:
    """Read one picture file as a frame.

    Args:
        path: PNG, TIFF, PNM, BMP, or for 8 bits any picture that ``read_image`` reads.
        pixel_format: of the frame; None: 8-bit RGB, see ``read_image``.

    Returns:
        An array of that format, C-contiguous. Of files without an alpha channel it is opaque where
        the format has one; colours come in the format's order.

    Raises:
        DataError: if the file is missing, damaged, or holds no such frame.
    """
    if pixel_format is None:
        return read_image(path)
    pixels, path = PIXEL_FORMATS[pixel_format], Path(path)
    if pixels.channels > 1 and not pixels.is_deep:
        return _colours(_rgb_or_rgba(path), pixels)
    stored = _stored(path, pixels)
    if pixels.channels == 1:
        return stored
    return _colours(stored, pixels)


def _rgb_or_rgba(path: Path) -> NDArray[Any]:
    with guarded_picture(path) as picture:
        has_alpha = picture.mode == "RGBA"
        values = np.array(picture) if has_alpha else None
    return read_image(path) if values is None else values


def _stored(path: Path, pixels: PixelFormat) -> NDArray[Any]:
    """The file's own values: (H, W), or (H, W, 3 or 4) in RGB order."""
    if pixels.dtype == "float32" and pixels.channels == 3:
        return _float_colours(path, pixels)
    with guarded_picture(path, deep=True) as picture:
        mode = picture.mode
        if pixels.bayer is not None and picture.getexif().get(_ORIENTATION, 1) != 1:
            raise _unfit(path, pixels, "an EXIF orientation, which would shift its mosaic")
        plane = mode in _PLANES
        # Pillow has no modes for colours of more than 8 bits: it has found the file sound, OpenCV
        # reads the values.
        values = np.array(picture) if plane and mode != "I" else None
    if values is None:
        values = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        if values is None:
            raise _unfit(path, pixels, f"pixel mode {mode}")
        if values.ndim == 3:
            order = [2, 1, 0, 3][: values.shape[2]]
            values = values[..., order]
    if values.dtype == bool:
        values = values.astype(np.uint8) * np.uint8(255)
    if values.dtype.byteorder == ">":
        values = values.astype(values.dtype.newbyteorder("<"))
    found = f"{values.dtype} of shape {values.shape}"
    if values.dtype != np.dtype(pixels.dtype) or (values.ndim == 2) != (pixels.channels == 1):
        raise _unfit(path, pixels, found)
    return np.ascontiguousarray(values)


def _float_colours(path: Path, pixels: PixelFormat) -> NDArray[Any]:
    """(H, W, 3) float32 in RGB order of a TIFF file, which Pillow does not read."""
    try:
        with path.open("rb") as file:
            if file.read(1) == b"":
                raise DataError(f"[read_frame] {path} is empty (0 bytes). Copy it again.")
    except OSError as error:
        raise DataError(f"[read_frame] {path} cannot be read ({error.strerror}).") from None
    values = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if values is None:
        raise DataError(
            f"[read_frame] {path} is no float TIFF, or it is truncated or damaged. Copy it again."
        )
    if values.dtype != np.float32 or values.ndim != 3 or values.shape[2] != 3:
        raise _unfit(path, pixels, f"{values.dtype} of shape {values.shape}")
    return np.ascontiguousarray(values[..., ::-1])


def _colours(values: NDArray[Any], pixels: PixelFormat) -> NDArray[Any]:
    """RGB or RGBA as the format orders it, with its number of channels."""
    rgb, alpha = values[..., :3], values[..., 3:]
    if pixels.kind == "bgr":
        rgb = rgb[..., ::-1]
    if pixels.channels == 3:
        if alpha.size and alpha.min() != np.iinfo(values.dtype).max:
            raise DataError(
                f"[read_frame] a picture that is transparent in places is no {pixels.name} frame. "
                f"Flatten it, or declare the format with alpha."
            )
        return np.ascontiguousarray(rgb)
    if not alpha.size:
        alpha = np.full((*values.shape[:2], 1), (1 << pixels.bits) - 1, values.dtype)
    return np.concatenate((rgb, alpha), axis=2)


def _unfit(path: Path, pixels: PixelFormat, found: str) -> DataError:
    return DataError(
        f"[read_frame] {path} has {found}, expected a {pixels.name} frame, {pixels.arrays}. Record "
        "frames as they come from the camera (PNG or TIFF), or choose another --pixel-format."
    )
