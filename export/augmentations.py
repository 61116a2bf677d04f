"""Changes of the scene that a line sees every day: turned, shifted, relit, contrasted, blurred.

The ranges are those of Table 4 of ReConPatch (supplement C.1): rotation by up to 5 degrees,
translation by up to 1 %, brightness and contrast by up to 30 %, Gaussian blur with a sigma of 0.1
to 1 pixel. The paper applies them "randomly" and gives one figure for all together; here each is
also taken alone, so that a user sees which one an engine does not bear.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pyad_edge.errors import DataError
from pyad_edge.pixel_formats import PIXEL_FORMATS, PixelFormat

__all__ = ["AUGMENTATIONS", "augment", "check_augmentable"]

Frame = NDArray[Any]  # (H, W) or (H, W, C)
Pair = tuple[Frame, NDArray[np.bool_]]
Change = Callable[[Frame, NDArray[np.bool_], np.random.Generator, float], Pair]

ROTATION = 5.0  # degrees
TRANSLATION = 0.01  # of the height and of the width
LIGHT = 0.3  # of brightness and of contrast
BLUR = (0.1, 1.0)  # sigma in pixels of the frame


def augment(
    name: str,
    frame: Frame,
    mask: NDArray[np.bool_],
    rng: np.random.Generator,
    *,
    pixel_format: str | None = None,
) -> Pair:
    """A frame changed at random, and its ground truth moved along with it.

    What a rotation or shift brings in from outside is the frame mirrored at its border: black
    corners would be anomalies of their own. The mask is mirrored in the same way.

    Args:
        name: one of ``AUGMENTATIONS``.
        frame: (H, W) or (H, W, C) of uint8, uint16 or float32; not changed.
        mask: (H, W) bool.
        rng: source of randomness.
        pixel_format: of the frame, by PFNC; None: 8-bit RGB or mono. It gives the largest value
            that brightness and contrast may reach.

    Raises:
        DataError: if the format is a mosaic, see :func:`check_augmentable`.
    """
    check_augmentable(pixel_format)
    pixels = PIXEL_FORMATS[pixel_format] if pixel_format is not None else None
    return AUGMENTATIONS[name](frame, mask, rng, _white(pixels))


def check_augmentable(pixel_format: str | None) -> None:
    """Refuse frames whose neighbouring pixels are different colours.

    Raises:
        DataError: if the format is a Bayer mosaic.
    """
    if pixel_format is not None and PIXEL_FORMATS[pixel_format].kind == "bayer":
        raise DataError(
            f"[augment] a frame of {pixel_format} cannot be turned, shifted or blurred: "
            "neighbouring pixels are different colours. Fit and evaluate on frames converted to "
            "RGB8 for this study."
        )


def _white(pixels: PixelFormat | None) -> float:
    if pixels is None:
        return 255.0
    return float(2**pixels.bits - 1) if pixels.dtype != "float32" else float("inf")


def _none(frame: Frame, mask: NDArray[np.bool_], rng: Any, white: float) -> Pair:
    return frame, mask


def _rotation(
    frame: Frame, mask: NDArray[np.bool_], rng: np.random.Generator, white: float
) -> Pair:
    H, W = mask.shape
    angle = float(rng.uniform(-ROTATION, ROTATION))
    return _warp(frame, mask, cv2.getRotationMatrix2D(((W - 1) / 2, (H - 1) / 2), angle, 1.0))


def _translation(
    frame: Frame, mask: NDArray[np.bool_], rng: np.random.Generator, white: float
) -> Pair:
    H, W = mask.shape
    right = rng.uniform(-TRANSLATION, TRANSLATION) * W
    down = rng.uniform(-TRANSLATION, TRANSLATION) * H
    return _warp(frame, mask, np.array([[1.0, 0.0, right], [0.0, 1.0, down]]))


def _brightness(
    frame: Frame, mask: NDArray[np.bool_], rng: np.random.Generator, white: float
) -> Pair:
    gain = rng.uniform(1 - LIGHT, 1 + LIGHT)
    return _relit(frame, lambda colours: colours * gain, white), mask


def _contrast(
    frame: Frame, mask: NDArray[np.bool_], rng: np.random.Generator, white: float
) -> Pair:
    gain = rng.uniform(1 - LIGHT, 1 + LIGHT)

    def change(colours: NDArray[np.float64]) -> NDArray[np.float64]:
        middle = float(colours.mean())
        return np.asarray(middle + gain * (colours - middle))

    return _relit(frame, change, white), mask


def _blur(frame: Frame, mask: NDArray[np.bool_], rng: np.random.Generator, white: float) -> Pair:
    sigma = float(rng.uniform(*BLUR))
    blurred = cv2.GaussianBlur(frame, (0, 0), sigma, borderType=cv2.BORDER_REFLECT_101)
    return np.asarray(blurred, frame.dtype).reshape(frame.shape), mask


def _all(frame: Frame, mask: NDArray[np.bool_], rng: np.random.Generator, white: float) -> Pair:
    for change in (_rotation, _translation, _brightness, _contrast, _blur):
        frame, mask = change(frame, mask, rng, white)
    return frame, mask


def _warp(frame: Frame, mask: NDArray[np.bool_], matrix: NDArray[Any]) -> Pair:
    """Both moved by one matrix (2, 3): bilinear, mirrored at the border; mask cut at one half."""
    size = (mask.shape[1], mask.shape[0])
    options = {"flags": cv2.INTER_LINEAR, "borderMode": cv2.BORDER_REFLECT_101}
    moved = cv2.warpAffine(frame, matrix, size, **options)
    truth = cv2.warpAffine(mask.astype(np.float32), matrix, size, **options)
    return np.asarray(moved, frame.dtype).reshape(frame.shape), np.asarray(truth > 0.5)


def _relit(
    frame: Frame, change: Callable[[NDArray[np.float64]], NDArray[np.float64]], white: float
) -> Frame:
    """Values changed and cut to what the format holds; an alpha channel stays."""
    colours = frame[..., :3] if frame.ndim == 3 else frame
    changed = np.clip(change(colours.astype(np.float64)), 0.0, white)
    if frame.dtype.kind == "u":
        changed = np.rint(changed)
    result: Frame = frame.copy()
    if frame.ndim == 3:
        result[..., :3] = changed.astype(frame.dtype)
    else:
        result[...] = changed.astype(frame.dtype)
    return result


AUGMENTATIONS: Mapping[str, Change] = MappingProxyType(
    {
        "none": _none,
        "rotation": _rotation,
        "translation": _translation,
        "brightness": _brightness,
        "contrast": _contrast,
        "blur": _blur,
        "all": _all,
    }
)
"""By name; "all" is one after the other, the paper's "w/ Aug."."""

TITLES: Mapping[str, str] = MappingProxyType(
    {
        "none": "none",
        "rotation": f"rotation ±{ROTATION:g}°",
        "translation": f"translation ±{TRANSLATION:.0%}",
        "brightness": f"brightness ±{LIGHT:.0%}",
        "contrast": f"contrast ±{LIGHT:.0%}",
        "blur": f"blur σ {BLUR[0]:g} to {BLUR[1]:g}",
        "all": "all together",
    }
)
