"""What an engine's declared input must agree with: its tensors, its network, itself."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from pyad_edge.engine_manifest import InputSpec, Manifest, Tiling
from pyad_edge.pixel_formats import PIXEL_FORMATS
from pyad_edge.tiling import cut_axis

__all__ = [
    "MASK",
    "MAX_GOLDEN_FRAMES",
    "MAX_GOLDEN_SIDE",
    "MIN_GOLDEN_SIDE",
    "check_golden",
    "check_input",
    "check_input_contents",
    "input_tensors",
    "patch_limits",
    "tiling_fault",
    "window_fault",
]

# Every open runs the golden frames: more or larger ones would only delay it.
MAX_GOLDEN_FRAMES = 16
MIN_GOLDEN_SIDE, MAX_GOLDEN_SIDE = 8, 1024
MAX_GOLDEN_TILES = 1024  # of all of them

MASK = "input/mask"
MAX_SIDE = 16384


def input_tensors(manifest: Manifest) -> dict[str, tuple[str, tuple[str | int, ...]]]:
    """Dtypes and shapes of the tensors that depend on the declared input."""
    spec = manifest.input
    if spec is None:
        return {"golden/frames": ("uint8", ("G", "H", "W", 3))}
    pixels = PIXEL_FORMATS[spec.pixel_format]
    shape: tuple[str | int, ...] = ("G", "H", "W")
    if pixels.channels > 1:
        shape = (*shape, pixels.channels)
    tensors = {"golden/frames": (pixels.dtype, shape)}
    if spec.mask:
        tensors[MASK] = ("uint8", ("rows of mask", "columns of mask"))
    return tensors  # type: ignore[return-value]


def check_input(manifest: Manifest, sizes: Mapping[str, int]) -> str | None:
    """The declared input against itself, the preprocessing and the mask."""
    spec = manifest.input
    if spec is None:
        return None
    return (
        window_fault(spec.pixel_format, spec.window)
        or _check_policy(spec, manifest)
        or _check_order(spec, manifest)
        or _check_mask(spec, sizes)
    )


def check_input_contents(manifest: Manifest, tensors: Mapping[str, NDArray[Any]]) -> str | None:
    """A mask that leaves something."""
    if manifest.input is not None and manifest.input.mask and not tensors[MASK].any():
        return f"its tensor '{MASK}' leaves nothing to inspect"
    return None


def check_golden(manifest: Manifest, sizes: Mapping[str, int]) -> str | None:
    """Golden frames that every open can afford, and that the size policy accepts."""
    G, H, W = sizes["G"], sizes["H"], sizes["W"]
    if G > MAX_GOLDEN_FRAMES:
        return f"it holds {G:,} golden frames; at most {MAX_GOLDEN_FRAMES} are allowed"
    if min(H, W) < MIN_GOLDEN_SIDE or max(H, W) > MAX_GOLDEN_SIDE:
        return (
            f"its golden frames have {W:,} x {H:,} pixels; {MIN_GOLDEN_SIDE} to {MAX_GOLDEN_SIDE} "
            "a side are allowed"
        )
    tiling = manifest.input.tiling if manifest.input is not None else None
    if tiling is not None and (tiling.size[0] > H or tiling.size[1] > W):
        return f"its golden frames of {W} x {H} pixels are smaller than its tiles"
    return _check_golden_tiles(tiling, G, (H, W), manifest) if tiling is not None else None


def patch_limits(manifest: Manifest, grid: tuple[int, int]) -> tuple[int, int]:
    """(h, w) patches that a training picture has at most, on a network's grid."""
    spec = manifest.input
    if spec is None or spec.tiling is None:
        return grid
    sides = spec.frame_size or (MAX_SIDE, MAX_SIDE)
    (h, w), (tall, wide) = grid, spec.tiling.size
    return -(-sides[0] * h // tall), -(-sides[1] * w // wide)


def tiling_fault(tiling: Tiling, grid: tuple[int, int]) -> str | None:
    """Why tiles of this size and overlap give no common grid of patches, or None."""
    for size, overlap, align, cells, side in zip(
        tiling.size, tiling.overlap, tiling.align, grid, ("high", "wide"), strict=True
    ):
        whole = size // math.gcd(size, cells)  # the least number of pixels with whole patches
        if overlap >= size:
            return f"its tiles are {size} pixels {side}, but overlap by {overlap}"
        if size > MAX_GOLDEN_SIDE:
            return f"its tiles are {size} pixels {side}; at most {MAX_GOLDEN_SIDE} are allowed"
        if align % whole or align > size - overlap:
            return (
                f"its tiles are {size} pixels {side} with {cells} patches and overlap by "
                f"{overlap}, which multiples of {align} pixels do not fit"
            )
    return None


def window_fault(pixel_format: str, window: tuple[float, float] | None) -> str | None:
    """Why a format cannot have this intensity window, or None."""
    pixels = PIXEL_FORMATS[pixel_format]
    if not pixels.is_deep:
        return None if window is None else f"{pixels.name} has 8 bits, so it takes no window"
    if window is None:
        return f"{pixels.name} has more than 8 bits, but no window says what is black and white"
    black, white = window
    if not black < white:
        return f"the window's black ({black:g}) is not below its white ({white:g})"
    if pixels.dtype == "uint16":
        limit = (1 << pixels.bits) - 1
        whole = black.is_integer() and white.is_integer()
        if not whole or not (black >= 0 and white <= limit):
            return (
                f"the window ({black:g}, {white:g}) is not whole numbers from 0 to {limit}, as "
                f"{pixels.name} has"
            )
    elif not (math.isfinite(white - black) and math.isfinite(255.0 / (white - black))):
        return f"the window ({black:g}, {white:g}) is too wide or too narrow for floats"
    return None


def _check_golden_tiles(
    tiling: Tiling, frames: int, size: tuple[int, int], manifest: Manifest
) -> str | None:
    count = frames
    for axis in (0, 1):
        cut = cut_axis(
            size[axis],
            size=tiling.size[axis],
            overlap=tiling.overlap[axis],
            align=tiling.align[axis],
            cells=manifest.network.grid[axis],
        )
        count *= len(cut.starts)
    if count > MAX_GOLDEN_TILES:
        return f"its golden frames are cut into {count:,} tiles, at most {MAX_GOLDEN_TILES:,} run"
    return None


def _check_policy(spec: InputSpec, manifest: Manifest) -> str | None:
    policy, settings = spec.size_policy, manifest.preprocessing
    if (spec.padding is not None) != (policy == "letterbox"):
        return "a padding belongs to the size policy 'letterbox', and it to a padding"
    if (spec.tiling is not None) != (policy == "tile"):
        return "a tiling belongs to the size policy 'tile', and it to a tiling"
    if policy == "error" and spec.frame_size is None:
        return "the size policy 'error' needs the frame size"
    if policy in ("letterbox", "tile") and (
        settings.crop is not None or isinstance(settings.resize, int)
    ):
        return f"the size policy '{policy}' takes neither a crop nor a shorter side"
    return tiling_fault(spec.tiling, manifest.network.grid) if spec.tiling is not None else None


def _check_order(spec: InputSpec, manifest: Manifest) -> str | None:
    order = "bgr" if PIXEL_FORMATS[spec.pixel_format].kind == "bgr" else "rgb"
    if manifest.preprocessing.color_order != order:
        return (
            f"its frames are {spec.pixel_format}, but its preprocessing expects "
            f"{manifest.preprocessing.color_order.upper()} order"
        )
    return None


def _check_mask(spec: InputSpec, sizes: Mapping[str, int]) -> str | None:
    if not spec.mask:
        return None
    size = (sizes["rows of mask"], sizes["columns of mask"])
    if max(size) > MAX_SIDE:
        return f"its mask has {size[1]:,} x {size[0]:,} pixels; {MAX_SIDE:,} a side are allowed"
    if spec.frame_size is not None and size != spec.frame_size:
        return f"its mask {size} has not the size of its frames {spec.frame_size}"
    return None
