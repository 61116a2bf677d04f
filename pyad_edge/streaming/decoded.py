"""What OpenCV decodes, as the frames that an engine declares."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pyad_edge.pixel_formats import PIXEL_FORMATS

__all__ = ["as_declared"]

_TO = {  # from channels of what was decoded (BGR order) to kind and channels of what is wanted
    (1, "rgb", 3): cv2.COLOR_GRAY2RGB,
    (1, "bgr", 3): cv2.COLOR_GRAY2BGR,
    (1, "rgb", 4): cv2.COLOR_GRAY2RGBA,
    (1, "bgr", 4): cv2.COLOR_GRAY2BGRA,
    (3, "rgb", 3): cv2.COLOR_BGR2RGB,
    (3, "rgb", 4): cv2.COLOR_BGR2RGBA,
    (3, "bgr", 4): cv2.COLOR_BGR2BGRA,
}

_GREY = 24  # levels between the channels of a grey picture after JPEG or H.264


def as_declared(
    decoded: NDArray[Any], pixel_format: str | None
) -> tuple[NDArray[np.uint8] | None, str]:
    """Convert a decoded picture where the wanted format holds the same information.

    Colour is reordered, and given an opaque alpha; mono is repeated. Most drivers and all video
    files hand a mono camera's picture over as colour: where the three channels are equal, but for
    what compression does to them, ``Mono8`` is their luma (ITU-R BT.601). Coloured pictures are no
    ``Mono8``, nor is what was decoded to 8 bits a picture of more bits or a mosaic: refused.

    Args:
        decoded: (H, W), (H, W, 1) or BGR (H, W, 3), of any dtype.
        pixel_format: PFNC name; None: RGB8.

    Returns:
        An array of that format, C-contiguous, or None and why there is none.
    """
    wanted = PIXEL_FORMATS[pixel_format or "RGB8"]
    channels = 1 if decoded.ndim == 2 else decoded.shape[-1]
    if decoded.dtype != np.uint8 or decoded.ndim not in (2, 3) or channels not in (1, 3):
        return None, (
            f"expected 8-bit BGR or mono frames, got {decoded.shape} of dtype {decoded.dtype}. Set "
            "the camera to an 8-bit format."
        )
    if wanted.is_deep or wanted.kind == "bayer":
        return None, (
            f"expected {wanted.name} frames, got 8-bit pictures that were converted by their "
            "driver or decoder. Read the camera through GenICam, or a function that makes a Device."
        )
    picture = np.ascontiguousarray(decoded.reshape(decoded.shape[:2]) if channels == 1 else decoded)
    if wanted.kind == "mono":
        if channels == 3 and _is_coloured(picture):
            return None, (
                f"expected {wanted.name} frames, got a coloured picture. Set the camera to "
                "mono, or train the engine on its colours."
            )
        return (picture if channels == 1 else _luma(picture)), ""
    code = _TO.get((channels, wanted.kind, wanted.channels))
    return (picture if code is None else np.asarray(cv2.cvtColor(picture, code), np.uint8)), ""


def _is_coloured(picture: NDArray[np.uint8]) -> bool:
    """Whether the channels differ by more than compression makes of grey, on a grid of pixels."""
    H, W = picture.shape[:2]
    grid = picture[:: max(1, H // 64), :: max(1, W // 64)].astype(np.int16)
    return bool(np.ptp(grid, axis=2).max() > _GREY)


def _luma(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), np.uint8)
