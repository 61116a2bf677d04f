"""Frames as a camera gives them, to pictures of 8 bits: one definition for fit, calibration, line.

- More than 8 bits: ``level = floor(255 (v - black) / (white - black) + 1/2)``, cut off at 0 and
  255. The window (black, white) is declared, never taken from the picture: otherwise a defect that
  is brighter than everything else would dim the rest. For integers the division is exact; for
  float32 it is float64's. What lies outside the window is cut off and not counted: a camera's
  exposure is the input gate's business.
- Bayer mosaics: the window first, then OpenCV's bilinear demosaicing at 8 bits
  (``COLOR_Bayer..2RGB``).
- Alpha is left out, and only where the format has it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from pyad_edge.engine_manifest import InputSpec
from pyad_edge.errors import DataError
from pyad_edge.pixel_formats import PIXEL_FORMATS, PixelFormat

__all__ = ["FrameFormat", "Picture", "levels", "plain_rgb"]

Picture = NDArray[np.uint8]
Frame = NDArray[Any]

_BAND = 16384  # values of float64 that are scaled at once
# OpenCV names a mosaic by the second row's second and third pixel, so its "BG" is PFNC's "RG".
_DEMOSAIC = {
    "RGGB": cv2.COLOR_BayerBG2RGB,
    "GBRG": cv2.COLOR_BayerGR2RGB,
    "GRBG": cv2.COLOR_BayerGB2RGB,
    "BGGR": cv2.COLOR_BayerRG2RGB,
}


class FrameFormat:
    """Checks frames of one declared format and makes pictures of them. Immutable.

    Args:
        name: of the format, see ``pixel_formats``.
        window: (black, white) where values have more than 8 bits, else None.

    Attributes:
        pixels: the format.
        color_order: of the pictures that come out.
    """

    def __init__(self, name: str, window: tuple[float, float] | None) -> None:
        self.pixels: PixelFormat = PIXEL_FORMATS[name]
        self.window = window
        self.color_order: Literal["rgb", "bgr"] = "bgr" if self.pixels.kind == "bgr" else "rgb"

    @classmethod
    def of(cls, spec: InputSpec) -> FrameFormat:
        """The format that an engine declares."""
        return cls(spec.pixel_format, spec.window)

    def check(self, frame: Frame) -> None:
        """Refuse an array of another dtype or shape.

        Raises:
            DataError: names what was declared and what came.
        """
        wanted = self.pixels
        expected = f"[infer] expected a {wanted.name} frame, {wanted.arrays}, got"
        way = (
            f"Set the camera to {wanted.name}, or open the runtime with the pixel_format that it "
            "sends."
        )
        if not isinstance(frame, np.ndarray):
            raise DataError(f"{expected} {type(frame).__name__}. {way}")
        fits = frame.ndim == 3 and frame.shape[2] == wanted.channels
        fits |= frame.ndim == 2 and wanted.channels == 1
        if not fits or frame.dtype != np.dtype(wanted.dtype).newbyteorder("<"):
            raise DataError(f"{expected} {frame.dtype} of shape {frame.shape}. {way}")

    def picture(self, frame: Frame) -> Picture:
        """The frame as (H, W) or (H, W, 3) uint8; a view of it where nothing changes.

        Args:
            frame: one that :meth:`check` accepts, any strides.

        Raises:
            DataError: if a value has more bits than the format, or is NaN or infinite.
        """
        pixels = self.pixels
        values = frame[..., 0] if frame.ndim == 3 and pixels.channels == 1 else frame
        values = values[..., :3] if pixels.channels == 4 else values
        if self.window is not None:
            self._check_values(values)
            values = levels(values, self.window)
        if pixels.bayer is None:
            return values
        return np.asarray(
            cv2.cvtColor(np.ascontiguousarray(values), _DEMOSAIC[pixels.bayer]), np.uint8
        )

    def rgb(self, frame: Frame) -> Picture:
        """The frame as (H, W, 3) uint8 RGB, to show to people."""
        return plain_rgb(self.picture(frame), self.color_order)

    def _check_values(self, values: Frame) -> None:
        name, bits = self.pixels.name, self.pixels.bits
        if values.dtype == np.float32:
            # min and max of an array with a NaN are NaN.
            low, high = float(values.min()), float(values.max())
            if not (np.isfinite(low) and np.isfinite(high)):
                raise DataError(
                    f"[infer] expected finite values in a {name} frame, got values from {low} to "
                    f"{high}. The frame counts as a fault; look at what computes it."
                )
        elif bits < 16 and int(values.max()) >= 1 << bits:
            raise DataError(
                f"[infer] expected a {name} frame's values below {1 << bits}, got "
                f"{int(values.max())}. Does the camera send more bits, or put them at the top of "
                "the 16? Set it to unpacked, low-aligned values."
            )


def plain_rgb(picture: Picture, color_order: Literal["rgb", "bgr"]) -> Picture:
    """A picture (H, W), (H, W, 1) or (H, W, 3) uint8 as (H, W, 3) RGB, C-contiguous."""
    if picture.ndim == 2 or picture.shape[2] == 1:
        picture = np.broadcast_to(picture.reshape(*picture.shape[:2], 1), (*picture.shape[:2], 3))
    elif color_order == "bgr":
        picture = picture[..., ::-1]
    return np.ascontiguousarray(picture)


def levels(values: Frame, window: tuple[float, float]) -> Picture:
    """Grey levels of 8 bits, ``floor(255 (v - black) / (white - black) + 1/2)`` within 0 to 255.

    Args:
        values: (...) uint16 or finite float32, any strides.
        window: (black, white), whole numbers for uint16.

    Returns:
        The same shape, uint8, C-contiguous.
    """
    if values.dtype == np.uint16:
        return _look_up(values, _table(int(window[0]), int(window[1])))
    return _scaled(values, *window)


def _scaled(values: Frame, black: float, white: float) -> Picture:
    """The levels of floats, in bands that stay in the processor's cache."""
    found = np.empty(values.shape, np.uint8)
    length = max(1, _BAND * len(values) // max(values.size, 1))
    scratch = np.empty((min(length, len(values)), *values.shape[1:]))
    factor = 255.0 / (white - black)
    with np.errstate(over="ignore"):  # an infinite level is cut off like any other
        for begin in range(0, len(values), length):
            part = values[begin : begin + length]
            band = scratch[: len(part)]
            np.subtract(part, black, out=band, dtype=np.float64)
            band *= factor
            band += 0.5
            np.clip(band, 0.0, 255.0, out=band)
            # Towards zero: floor of what is not negative.
            np.copyto(found[begin : begin + length], band, casting="unsafe")
    return found


@lru_cache(maxsize=8)
def _table(black: int, white: int) -> Picture:
    """(65536,) uint8: the level of every uint16, in whole numbers."""
    span = white - black
    above = np.clip(np.arange(65536, dtype=np.int64) - black, 0, span)
    table = ((510 * above + span) // (2 * span)).astype(np.uint8)
    table.flags.writeable = False
    return table


def _look_up(values: Frame, table: Picture) -> Picture:
    if _OPENCV_LOOKS_UP_UINT16 and values.ndim >= 2:
        found = cv2.LUT(np.ascontiguousarray(values), table)
        return np.asarray(found, np.uint8).reshape(values.shape)
    return np.ascontiguousarray(table[values])


def _opencv_looks_up_uint16() -> bool:
    """OpenCV 5 does, three times as fast as NumPy; OpenCV 4 takes 8 bits only."""
    try:
        found = cv2.LUT(np.array([[300, 7]], np.uint16), np.arange(65536).astype(np.uint8))
    except cv2.error:
        return False
    return np.array_equal(np.ravel(found), [44, 7])


_OPENCV_LOOKS_UP_UINT16 = _opencv_looks_up_uint16()
