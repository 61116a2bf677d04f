"""Engines that declare their input, for graphs."""

from __future__ import annotations

from typing import Any

import numpy as np
from pipeline_graphs import Made, random_frames

from pyad_edge.engine_manifest import InputSpec
from pyad_edge.pixel_formats import PIXEL_FORMATS

__all__ = ["SIZE", "declared"]

SIZE = (44, 61)


def declared(engine: Made, name: str, policy: str, *, mask: bool = False) -> Made:
    """The engine with an input of its own; of a mask, the left third and a corner are left out."""
    draft, tensors = engine
    pixels = PIXEL_FORMATS[name]
    channels = () if pixels.channels == 1 else (pixels.channels,)
    levels = 1 << pixels.bits
    frames = random_frames(2, (40, 33), channels=channels, dtype=pixels.dtype, levels=levels)
    spec = InputSpec(
        pixel_format=name,
        window=(float(levels // 64), float(levels - levels // 16)) if pixels.is_deep else None,
        size_policy=policy,
        frame_size=SIZE,
        padding=114 if policy == "letterbox" else None,
        tiling=None,
        mask=mask,
    )
    tensors = {**tensors, "golden/frames": frames}
    if mask:
        shown = np.full(SIZE, 255, np.uint8)
        shown[:, :20] = 0
        shown[:15, 40:] = 0
        tensors["input/mask"] = shown
    order = "bgr" if pixels.kind == "bgr" else "rgb"
    changes = {"resize": (32, 32), "crop": None, "color_order": order}
    members = draft.members and tuple(
        m.model_copy(update={"preprocessing": m.preprocessing.model_copy(update=changes)})
        for m in draft.members
    )
    preprocessing = draft.preprocessing.model_copy(update=changes)
    update: dict[str, Any] = {"input": spec, "preprocessing": preprocessing, "members": members}
    return draft.model_copy(update=update), tensors
