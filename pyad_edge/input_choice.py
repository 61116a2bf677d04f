"""What frames a runtime takes: what the engine declares, and what may be asked for instead.

A threshold means something only for frames that look as the calibration pictures did, so another
choice is taken where the picture behind the frame stays the same (another order of colours) or
where less of it is inspected (a smaller region), and refused where scores would change.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pyad_edge.correlation_pipeline import CorrelationPipeline
from pyad_edge.cosine_pipeline import CosinePipeline
from pyad_edge.declared_correlation import DeclaredCorrelationPipeline
from pyad_edge.declared_cosine import DeclaredCosinePipeline
from pyad_edge.declared_pipeline import DeclaredPipeline
from pyad_edge.declared_score_map import DeclaredScoreMapPipeline
from pyad_edge.engine import Engine
from pyad_edge.engine_input import MASK
from pyad_edge.engine_manifest import CorrelationHead, CosineHead, InputSpec, ScoreMapHead
from pyad_edge.errors import SettingError
from pyad_edge.feeder import DeclaredInput
from pyad_edge.frames import FrameFormat
from pyad_edge.pipeline import Pipeline
from pyad_edge.pixel_formats import PIXEL_FORMATS, PixelFormat, same_pixels
from pyad_edge.roi import Mask, as_mask, read_roi
from pyad_edge.score_map_pipeline import ScoreMapPipeline

__all__ = [
    "MaskSource",
    "choose_input",
    "declared_input",
    "declared_pipeline",
    "pipeline_of",
    "pixel_format_of",
    "plain_pipeline",
]

Order = Literal["rgb", "bgr"]
MaskSource: TypeAlias = "str | os.PathLike[str] | NDArray[np.uint8] | NDArray[np.bool_]"
_POLICIES = ("error", "resize", "letterbox", "tile")
# By the settings of the head, of frames as they come and of declared ones; else memory banks'.
_PIPELINES: Mapping[type[Any], tuple[type[Any], type[Any]]] = {
    CorrelationHead: (CorrelationPipeline, DeclaredCorrelationPipeline),
    CosineHead: (CosinePipeline, DeclaredCosinePipeline),
    ScoreMapHead: (ScoreMapPipeline, DeclaredScoreMapPipeline),
}


def declared_input(spec: InputSpec, mask: Mask | None) -> DeclaredInput:
    """An engine's own input; ``mask`` is its tensor ``input/mask``, where it has one."""
    frames = FrameFormat.of(spec)
    error = spec.size_policy == "error"
    return DeclaredInput(
        spec=spec,
        format=frames,
        color_order=frames.color_order,
        policy="resize" if spec.size_policy == "error" else spec.size_policy,
        frame_size=spec.frame_size if error else None,
        masks=() if mask is None else (mask,),
    )


def choose_input(
    engine: Engine,
    *,
    color_order: Order | None = None,
    pixel_format: str | None = None,
    size_policy: str | None = None,
    mask: MaskSource | None = None,
) -> DeclaredInput | None:
    """The input in force; None where neither the engine nor the caller says anything.

    Args:
        engine: declares its own input, or none.
        color_order: of the frames; for engines with a pixel format, the same format in that order.
        pixel_format: that the camera sends, by PFNC, instead of the engine's.
        size_policy: the engine's own, or ``error`` where it knows the size of its frames.
        mask: array or file of a region of interest; what it and the engine's own mask both hold is
            inspected.

    Raises:
        SettingError: if a choice is unknown or would change what scores mean.
        DataError: if the mask's file cannot be read.
    """
    spec = engine.manifest.input
    if spec is None and pixel_format is None and size_policy is None and mask is None:
        return None
    if pixel_format is not None and color_order is not None:
        raise SettingError(
            f"[Runtime] expected either color_order or pixel_format, got {color_order!r} and "
            f"{pixel_format!r}. A pixel format says its order."
        )
    masks = tuple(engine.tensors[name] for name in (MASK,) if name in engine.tensors)
    own_size = spec.frame_size if spec is not None else None
    if mask is not None:
        masks = (*masks, _mask(mask, own_size))
    frames = _format(engine, spec, pixel_format, color_order)
    order = color_order or engine.manifest.preprocessing.color_order
    policy = _policy(spec, size_policy)
    return DeclaredInput(
        spec=spec,
        format=frames,
        color_order=frames.color_order if frames is not None else order,
        policy="resize" if spec is None or spec.size_policy == "error" else spec.size_policy,
        frame_size=own_size if policy == "error" else None,
        masks=masks,
    )


def _mask(mask: MaskSource, frame_size: tuple[int, int] | None) -> Mask:
    found = read_roi(mask) if isinstance(mask, (str, os.PathLike)) else as_mask(mask)
    if frame_size is not None and found.shape != tuple(frame_size):
        raise SettingError(
            f"[Runtime] expected a mask of the frames' {frame_size[1]} x {frame_size[0]} pixels, "
            f"got {found.shape[1]} x {found.shape[0]}. Paint it over a frame of the camera."
        )
    return found


def _format(
    engine: Engine, spec: InputSpec | None, name: str | None, order: Order | None
) -> FrameFormat | None:
    """The format of the frames that come; None: uint8, mono or in the engine's colour order."""
    if spec is None:
        if name is None:
            return None
        asked = _known(name)
        if asked.is_deep or asked.bayer is not None:
            raise SettingError(
                f"[Runtime] {engine.path} was fitted on pictures of 8 bits per channel, so scores "
                f"of {name} frames would mean something else. Train an engine with --pixel-format "
                f"{name}."
            )
        return FrameFormat(name, None)
    declared = PIXEL_FORMATS[spec.pixel_format]
    if order is not None:
        return FrameFormat(_reordered(engine, declared, order), spec.window)
    asked = declared if name is None else _known(name)
    if not same_pixels(declared, asked):
        raise SettingError(
            f"[Runtime] {engine.path} was fitted on {declared.name} frames, so scores of "
            f"{asked.name} frames would mean something else. Set the camera to {declared.name}, or "
            f"train an engine with --pixel-format {asked.name}."
        )
    return FrameFormat(asked.name, spec.window)


def _known(name: str) -> PixelFormat:
    if not isinstance(name, str) or name not in PIXEL_FORMATS:
        raise SettingError(
            f"[Runtime] unknown pixel format {name!r}. Known are the unpacked ones by PFNC: "
            f"{', '.join(PIXEL_FORMATS)}."
        )
    return PIXEL_FORMATS[name]


def _reordered(engine: Engine, declared: PixelFormat, order: Order) -> str:
    if declared.kind not in ("rgb", "bgr"):
        raise SettingError(
            f"[Runtime] {engine.path} takes {declared.name} frames, which have no colour order, "
            f"got color_order={order!r}. Leave it out."
        )
    if declared.kind == order:
        return declared.name
    name = order.upper() + declared.name[3:]
    if name not in PIXEL_FORMATS:
        raise SettingError(
            f"[Runtime] {engine.path} takes {declared.name} frames, and there is no {name}. Turn "
            "the channels with frame[..., ::-1] and leave color_order out."
        )
    return name


def _policy(spec: InputSpec | None, asked: str | None) -> str:
    declared = spec.size_policy if spec is not None else "resize"
    if asked is None or asked == declared:
        return declared
    if asked not in _POLICIES:
        raise SettingError(
            f"[Runtime] expected size_policy as one of {', '.join(_POLICIES)}, got {asked!r}."
        )
    if asked == "error":
        if spec is not None and spec.frame_size is not None:
            return asked
        raise SettingError(
            "[Runtime] size_policy 'error' needs the size of the frames, which this engine does "
            "not know. Train one with --size-policy, on pictures of one size."
        )
    raise SettingError(
        f"[Runtime] this engine was fitted with the size policy '{declared}', so scores under "
        f"'{asked}' would mean something else. Train an engine with --size-policy {asked}."
    )


def pipeline_of(
    engine: Engine,
    parts: Mapping[str, Any],
    declared: DeclaredInput | None,
    *,
    grid: tuple[int, int] | None = None,
) -> Pipeline | None:
    """The pipeline of an input that was declared or chosen; None where there is none.

    Args:
        engine: verified.
        parts: arguments of its pipeline without one.
        declared: from :func:`choose_input`.
        grid: (h, w), patches of the network's input; none: those of the engine's first network.
    """
    if declared is None:
        return None
    manifest = engine.manifest
    grid = grid or manifest.network.grid
    if manifest.input is None:
        plain, made = _pipelines(parts)
        pipeline: Pipeline = made(**parts, declared=declared, grid=grid, own=plain(**parts))
        return pipeline
    as_made = declared_input(manifest.input, engine.tensors.get(MASK))
    return declared_pipeline(parts, declared, grid=grid, as_made=as_made)


def declared_pipeline(
    parts: Mapping[str, Any],
    declared: DeclaredInput,
    *,
    grid: tuple[int, int],
    as_made: DeclaredInput | None = None,
) -> Pipeline:
    """A pipeline, with the one that scores golden frames in its ``own``.

    Args:
        parts: arguments of :class:`~pyad_edge.pipeline.Pipeline`, or of another pipeline, as the
            settings in ``head`` say.
        declared: the input in force.
        grid: (h, w), patches of the network's input.
        as_made: the engine's own input; none: ``declared``.
    """
    # Golden frames are small; that they have not the frames' size is no fault.
    golden = dataclasses.replace(as_made or declared, frame_size=None)
    _, made = _pipelines(parts)
    own = made(**parts, declared=golden, grid=grid)
    pipeline: Pipeline = made(**parts, declared=declared, grid=grid, own=own)
    return pipeline


def plain_pipeline(parts: Mapping[str, Any]) -> Pipeline:
    """The pipeline of frames as they come, for the head in ``parts``, its arguments."""
    plain, _ = _pipelines(parts)
    pipeline: Pipeline = plain(**parts)
    return pipeline


def _pipelines(parts: Mapping[str, Any]) -> tuple[type[Any], type[Any]]:
    return _PIPELINES.get(type(parts["head"]), (Pipeline, DeclaredPipeline))


def pixel_format_of(declared: DeclaredInput | None) -> str | None:
    """Name of the frames' format; None: 8-bit RGB or mono."""
    if declared is None or declared.format is None:
        return None
    return declared.format.pixels.name
