"""What a refinement network learns from: maps of good pictures, and of the same with defects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyad_edge.errors import ResourceError, SettingError
from pyad_edge.export.memory import format_bytes, memory_limit
from pyad_edge.export.methods.refinement.settings import RefinementSettings
from pyad_edge.export.progress import ProgressCall, silent
from pyad_edge.export.synthetic import SyntheticSettings, add_defect
from pyad_edge.export.synthetic_textures import Textures
from pyad_edge.export.validation import mask_of
from pyad_edge.frame_files import read_frame
from pyad_edge.pixel_formats import PIXEL_FORMATS

__all__ = ["MapSet", "collect_maps"]


@dataclass(frozen=True, eq=False)
class MapSet:
    """Cached maps.

    Attributes:
        maps: (n, H, W) float32, as the engine gave them.
        masks: (n, H, W) bool, the synthetic defects; none of a good picture.
        pictures: (n, 3, H, W) float16, as the network sees them, or None.
        good: (n,) bool, pictures without a defect.
    """

    maps: NDArray[np.float32]
    masks: NDArray[np.bool_]
    pictures: NDArray[np.float16] | None
    good: NDArray[np.bool_]

    def normalisation(self) -> tuple[float, float]:
        """(offset, scale): mean and standard deviation of the good pictures' map values."""
        values = self.maps[self.good]
        scale = float(values.std(dtype=np.float64))
        return float(values.mean(dtype=np.float64)), max(scale, 1e-12)


def collect_maps(
    pipeline: Any,
    paths: Sequence[Path],
    settings: RefinementSettings,
    *,
    defects: SyntheticSettings | None = None,
    textures: Textures | None = None,
    progress: ProgressCall = silent,
) -> MapSet:
    """Score every picture as it is and with ``settings.defects`` synthetic defects.

    Args:
        pipeline: of the engine that is to be refined.
        paths: good pictures, best outside its memory bank: what the bank has seen scores too low.
        settings: see there.
        defects: how large and visible; none: the defaults, of ``settings.kinds``.
        textures: needed for the kind "texture".
        progress: called with ("maps", done, of).

    Raises:
        DataError: if a picture cannot be read or takes no defect.
        ResourceError: if the maps do not fit the memory limit; nothing was scored then.
        SettingError: if the engine's input or size policy cannot be refined.
    """
    defects = defects or SyntheticSettings(kinds=settings.kinds)
    check_input(pipeline)
    H, W = pipeline.input_size
    count = len(paths) * (1 + settings.defects)
    _check_memory(count, H * W, settings)
    maps = np.empty((count, H, W), np.float32)
    masks = np.zeros((count, H, W), bool)
    pictures = np.empty((count, 3, H, W), np.float16) if settings.picture else None
    seen = np.empty((1, 3, H, W), np.float32)
    n = 0
    for index, path in enumerate(paths):
        frame = read_frame(path, pipeline.input_info["pixel_format"])
        for version in range(settings.defects + 1):
            scored = frame
            if version:
                rng = np.random.default_rng([settings.seed, index, version])
                made = add_defect(frame, rng, settings=defects, textures=textures)
                scored = made.picture
                masks[n] = mask_of(pipeline, made.mask)
            maps[n] = pipeline.score([scored]).maps[0]
            if pictures is not None:
                pipeline.write_input(scored, out=seen)
                pictures[n] = seen[0]
            n += 1
        progress("maps", index + 1, len(paths))
    good = np.arange(count) % (settings.defects + 1) == 0
    return MapSet(maps, masks, pictures, good)


def check_input(pipeline: Any) -> None:
    """Refuse engines whose frames take no synthetic defects, or whose maps have no one size.

    Raises:
        SettingError: names the pixel format or the size policy.
    """
    name = pipeline.input_info["pixel_format"]
    pixels = PIXEL_FORMATS[name] if name is not None else None
    if pixels is not None and (pixels.is_deep or pixels.kind == "bayer" or pixels.channels == 4):
        raise SettingError(
            f"[refinement] synthetic defects need 8-bit mono or colour frames, but the engine "
            f"takes {name}. Fit one on frames converted to Mono8 or RGB8."
        )
    if pipeline.input_info["size_policy"] == "tile":
        raise SettingError(
            "[refinement] an engine that cuts frames into tiles has maps of many sizes, a "
            "refinement network takes one. Fit an engine that resizes or letterboxes."
        )


def _check_memory(count: int, pixels: int, settings: RefinementSettings) -> None:
    needed = count * pixels * (4 + 1 + (6 if settings.picture else 0))
    limit = memory_limit(settings.memory_limit)
    if needed > limit:
        raise ResourceError(
            f"[refinement] {count:,} cached maps need {format_bytes(needed)}, the limit is "
            f"{format_bytes(limit)}. Use fewer --defects, or a larger --memory-limit."
        )
