"""Pixel formats by the names that GenICam cameras use, and the arrays that hold them.

Names follow the GenICam Pixel Format Naming Convention (PFNC, EMVA): component order, bits, and for
Bayer mosaics the first two pixels of the first row. Only unpacked formats are arrays: a pixel of
more than eight bits lies in the low bits of a little-endian uint16. Packed ones (``Mono12p``) and
those of other colour spaces are converted by the camera's driver. ``Mono32f`` and ``RGB32f`` are
named by the same rules; PFNC itself lists floats only for 3-D data.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

__all__ = ["PIXEL_FORMATS", "PixelFormat", "same_pixels"]


@dataclass(frozen=True)
class PixelFormat:
    """One format.

    Attributes:
        name: by PFNC.
        dtype: NumPy's name: uint8, uint16 or float32.
        channels: of the array's last axis; 1 may also be left out.
        bits: used of each value; 32 for floats.
        kind: what a value is: a grey level, one of three colours in order, or a mosaic's.
        bayer: colours of a mosaic's first 2 x 2 pixels, row by row, such as ``RGGB``.
    """

    name: str
    dtype: Literal["uint8", "uint16", "float32"]
    channels: Literal[1, 3, 4]
    bits: int
    kind: Literal["mono", "rgb", "bgr", "bayer"]
    bayer: str | None = None

    @property
    def is_deep(self) -> bool:
        """Whether values need an intensity window to become grey levels of 8 bits."""
        return self.dtype != "uint8"

    @property
    def arrays(self) -> str:
        """The arrays that hold it, for people: ``uint16 of shape (H, W) or (H, W, 1)``."""
        shape = "(H, W) or (H, W, 1)" if self.channels == 1 else f"(H, W, {self.channels})"
        return f"{self.dtype} of shape {shape}"


def _table() -> Mapping[str, PixelFormat]:
    formats = []
    for bits in (8, 10, 12, 14, 16):
        dtype: Literal["uint8", "uint16"] = "uint8" if bits == 8 else "uint16"
        formats += [
            PixelFormat(f"Mono{bits}", dtype, 1, bits, "mono"),
            PixelFormat(f"RGB{bits}", dtype, 3, bits, "rgb"),
            PixelFormat(f"BGR{bits}", dtype, 3, bits, "bgr"),
            PixelFormat(f"RGBa{bits}", dtype, 4, bits, "rgb"),
            PixelFormat(f"BGRa{bits}", dtype, 4, bits, "bgr"),
        ]
        for first, colours in (("RG", "RGGB"), ("GB", "GBRG"), ("GR", "GRBG"), ("BG", "BGGR")):
            formats.append(PixelFormat(f"Bayer{first}{bits}", dtype, 1, bits, "bayer", colours))
    formats.append(PixelFormat("Mono32f", "float32", 1, 32, "mono"))
    formats.append(PixelFormat("RGB32f", "float32", 3, 32, "rgb"))
    return MappingProxyType({entry.name: entry for entry in formats})


PIXEL_FORMATS = _table()


def same_pixels(declared: PixelFormat, other: PixelFormat) -> bool:
    """Whether a camera that sends ``other`` can show what ``declared`` shows, value for value.

    Colours may come in another order or with an alpha channel, and a mosaic may begin at another of
    its pixels; depth, and mosaic or not, may not differ.
    """
    colour = {"rgb", "bgr"}
    alike = declared.kind == other.kind or {declared.kind, other.kind} <= colour
    return alike and (declared.dtype, declared.bits) == (other.dtype, other.bits)
