"""What a fit is told about the frames to come, made into what an engine declares."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pyad_edge.engine_input import MAX_GOLDEN_SIDE, window_fault
from pyad_edge.engine_manifest import InputSpec, Tiling
from pyad_edge.errors import SettingError
from pyad_edge.feeder import DeclaredInput
from pyad_edge.input_choice import declared_input
from pyad_edge.pixel_formats import PIXEL_FORMATS
from pyad_edge.roi import Mask, read_roi

__all__ = ["FrameSettings"]

Size = tuple[int, int]


@dataclass(frozen=True)
class FrameSettings:
    """Everything that differs from 8-bit RGB pictures of any size, resized.

    Attributes:
        pixel_format: of camera and files, by PFNC.
        window: (black, white) of more than 8 bits; None: all that integers can hold.
        size_policy: ``error``, ``resize``, ``letterbox`` or ``tile``.
        tile, overlap: (height, width) in pixels of the frame, of ``tile``; none: the network's
            input, and a quarter of the tile.
        padding: grey level around a letterboxed frame; none: 114.
        mask: picture of the region of interest, white where to inspect.
    """

    pixel_format: str = "RGB8"
    window: tuple[float, float] | None = None
    size_policy: Literal["error", "resize", "letterbox", "tile"] = "resize"
    tile: Size | None = None
    overlap: Size | None = None
    padding: int | None = None
    mask: Path | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be used, before any work."""
        if self.pixel_format not in PIXEL_FORMATS:
            raise SettingError(
                f"[train] unknown --pixel-format {self.pixel_format!r}. Known are the unpacked "
                f"ones by PFNC: {', '.join(PIXEL_FORMATS)}."
            )
        if wrong := window_fault(self.pixel_format, self.range):
            raise SettingError(
                f"[train] {wrong}. Give --window BLACK:WHITE, in the camera's own numbers."
            )
        for value, option, policy in (
            (self.tile, "--tile", "tile"),
            (self.overlap, "--overlap", "tile"),
            (self.padding, "--padding", "letterbox"),
        ):
            if value is not None and self.size_policy != policy:
                raise SettingError(
                    f"[train] {option} belongs to --size-policy {policy}, got --size-policy "
                    f"{self.size_policy}."
                )
        if self.padding is not None and not 0 <= self.padding <= 255:
            raise SettingError(f"[train] expected --padding of 0 to 255, got {self.padding}.")

    @property
    def range(self) -> tuple[float, float] | None:
        """The window in force."""
        pixels = PIXEL_FORMATS[self.pixel_format]
        if self.window is None and pixels.dtype == "uint16":
            return (0.0, float((1 << pixels.bits) - 1))
        return self.window

    @property
    def color_order(self) -> Literal["rgb", "bgr"]:
        """Of the pictures that the network's preprocessing gets."""
        return "bgr" if PIXEL_FORMATS[self.pixel_format].kind == "bgr" else "rgb"

    def check_fit(self, *, resize: Size | int, crop: Size | None, index: str | None) -> None:
        """Refuse a crop or an index where frames are not simply resized.

        Raises:
            SettingError: names what excludes what.
        """
        if index is not None and (self.mask or self.size_policy in ("letterbox", "tile")):
            raise SettingError(
                f"[ivfpq] an index is measured on whole pictures, got --size-policy "
                f"{self.size_policy}{' and a --mask' if self.mask else ''}. Leave --index out and "
                "use a --coreset below 1, or frames that are resized."
            )
        if self.size_policy in ("letterbox", "tile") and (crop or isinstance(resize, int)):
            raise SettingError(
                f"[train] --size-policy {self.size_policy} takes neither --crop nor "
                "--shorter-side. Give --size alone."
            )

    def declare(
        self, *, sizes: Collection[Size], input_size: Size, levels: Sequence[Size]
    ) -> DeclaredInput:
        """What the engine declares.

        Args:
            sizes: (H, W) that the pictures have.
            input_size: of the network.
            levels: (h, w) of each of its outputs, the finest first.

        Raises:
            SettingError: if sizes, tiles or mask do not fit.
            DataError: if the mask cannot be read.
        """
        frame_size = next(iter(sizes)) if len(sizes) == 1 else None
        if self.size_policy == "error" and frame_size is None:
            listed = ", ".join(f"{W}x{H}" for H, W in sorted(sizes)[:5])
            raise SettingError(
                f"[train] --size-policy error needs pictures of one size, got {len(sizes)} sizes: "
                f"{listed}. Remove the others, or use --size-policy resize."
            )
        mask = read_roi(self.mask) if self.mask is not None else None
        if mask is not None:
            _check_mask(mask, sizes)
        spec = InputSpec(
            pixel_format=self.pixel_format,
            window=self.range,
            size_policy=self.size_policy,
            frame_size=frame_size,
            padding=(114 if self.padding is None else self.padding)
            if self.size_policy == "letterbox"
            else None,
            tiling=self._tiling(input_size, levels) if self.size_policy == "tile" else None,
            mask=mask is not None,
        )
        return declared_input(spec, mask)

    def _tiling(self, input_size: Size, levels: Sequence[Size]) -> Tiling:
        tile = self.tile or input_size
        overlap = self.overlap or (tile[0] // 4, tile[1] // 4)
        aligns = []
        for axis, side in ((0, "high"), (1, "wide")):
            cells = [level[axis] for level in levels]
            align = tile[axis] // math.gcd(tile[axis], *cells)
            aligns.append(align)
            if not 8 <= tile[axis] <= MAX_GOLDEN_SIDE:
                raise SettingError(
                    f"[train] expected a --tile of 8 to {MAX_GOLDEN_SIDE} pixels a side, got "
                    f"{tile[axis]}."
                )
            if not 0 <= overlap[axis] <= tile[axis] - align:
                raise SettingError(
                    f"[train] tiles {tile[axis]} pixels {side} that overlap by {overlap[axis]} "
                    f"cannot share one grid of patches: the network sees {cells[-1]} to {cells[0]} "
                    f"of them, so tiles can begin every {align} pixels. Use an --overlap of at "
                    f"most {max(tile[axis] - align, 0)}, or a --tile that is a multiple of "
                    f"{cells[0]}."
                )
        return Tiling(size=tile, overlap=overlap, align=(aligns[0], aligns[1]))


def _check_mask(mask: Mask, sizes: Collection[Size]) -> None:
    """A mask painted over another picture would lie wrongly: its size tells."""
    shape = (mask.shape[0], mask.shape[1])
    if shape not in sizes:
        H, W = next(iter(sizes))
        raise SettingError(
            f"[train] expected --mask of the pictures' {W} x {H} pixels, got {shape[1]} x "
            f"{shape[0]}. Paint it over one of the pictures."
        )
