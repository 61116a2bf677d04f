"""Pictures of a verdict that people can judge at a glance.

Heat is drawn on a scale fixed by the engine's threshold, never by the picture's own minimum and
maximum: a normal picture looks calm, and the same colour means the same thing in every picture.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from pyad_edge.result import Result, Verdict

__all__ = ["Plane", "draw_overlay"]

Image8 = npt.NDArray[np.uint8]
Array = npt.NDArray[Any]

_PANEL_SIDE = (360, 720)  # the longer side of a panel lies between these
_BANNER, _CAPTION, _GAP, _MARGIN = 44, 22, 6, 12
_CANVAS = (24, 26, 30)
_TEXT, _QUIET = (240, 240, 240), (170, 174, 180)
_COLORS = {
    Verdict.OK: (24, 110, 60),
    Verdict.REVIEW: (150, 98, 0),
    Verdict.NG: (168, 32, 38),
    Verdict.FAULT: (168, 32, 38),
}
_CONTOUR, _BOX, _TRUTH = (255, 255, 255), (255, 214, 10), (64, 224, 120)
_MAX_BOXES = 8

# Heat as a share of the map's threshold: transparent up to the first, full colour at the second.
_HEAT_FROM, _HEAT_TO = 0.75, 1.8


@dataclass(frozen=True, eq=False)
class Plane:
    """A further panel: values over the area of the anomaly map.

    Attributes:
        name: above the panel.
        values: (h, w), not negative; the largest gets the full colour.
        point: (x, y) of a dot, in cells from the upper left corner.
    """

    name: str
    values: Array
    point: tuple[float, float]


def draw_overlay(
    frame: Image8,
    result: Result,
    *,
    ground_truth: npt.NDArray[np.bool_] | None = None,
    title: str = "",
    planes: Sequence[Plane] = (),
) -> Image8:
    """Draw a frame and its verdict: a banner above two or three panels side by side.

    Panels: the frame; the frame under its heat map with the mask's contour and the regions' boxes
    and scores; with ``ground_truth``, the frame with the true defect outlined.

    Heat is the anomaly map divided by ``result.map_threshold``, in the perceptually uniform colour
    map "inferno": nothing below 0.75, white-yellow from 1.8.

    Args:
        frame: (H, W, 3) uint8 RGB, of any size; small ones are enlarged, large ones reduced.
        result: The verdict on this frame.
        ground_truth: (h, w) bool over the area of the anomaly map (``result.map_box``), or None.
        title: Shown in the banner, a file name for instance; accents are dropped, what is not
            ASCII shows as boxes.
        planes: Panels on the right of these.

    Returns:
        (h', w', 3) uint8 RGB.

    Raises:
        ValueError: The frame is not (H, W, 3) uint8, or the ground truth is not a bool plane.
    """
    if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8:
        raise ValueError(
            f"[draw_overlay] expected a frame (H, W, 3) uint8, got {frame.shape} {frame.dtype}."
        )
    if ground_truth is not None and (ground_truth.ndim != 2 or ground_truth.dtype != np.bool_):
        raise ValueError(
            f"[draw_overlay] expected ground_truth (h, w) bool, got {ground_truth.shape} "
            f"{ground_truth.dtype}."
        )
    height, width = frame.shape[:2]
    longer = max(height, width)
    scale = min(max(longer, _PANEL_SIDE[0]), _PANEL_SIDE[1]) / longer
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    # Whole-pixel enlargement would show blocks; linear keeps small frames readable.
    method = cv2.INTER_AREA if scale < 1.0 else cv2.INTER_LINEAR
    plain = np.asarray(cv2.resize(np.ascontiguousarray(frame), size, interpolation=method))

    panels = [("frame", plain), ("anomaly map", _heat_panel(plain, result, scale))]
    if ground_truth is not None:
        truth = _spread(ground_truth.astype(np.float32), result, plain.shape[:2], scale)
        panels.append(("ground truth", _outline(plain.copy(), truth > 0.5, _TRUTH)))
    panels += [(plane.name, _plane_panel(plain, plane, result, scale)) for plane in planes]
    return _compose(panels, result, title)


def _plane_panel(plain: Image8, plane: Plane, result: Result, scale: float) -> Image8:
    """Values in cells, not blended into each other, over the darkened frame."""
    rows, columns = plane.values.shape
    share = plane.values / max(float(plane.values.max()), 1e-30)
    cells = np.kron(share, np.ones((8, 8))).astype(np.float32)
    heat = _spread(cells, result, plain.shape[:2], scale)
    index = (np.clip(heat, 0.0, 1.0) * 255).astype(np.uint8)
    colour = cv2.cvtColor(cv2.applyColorMap(index, cv2.COLORMAP_INFERNO), cv2.COLOR_BGR2RGB)
    panel = np.asarray(plain * 0.25 + colour * 0.75, np.uint8)
    x, y, width, height = (value * scale for value in result.map_box)
    at = (round(x + plane.point[0] * width / columns), round(y + plane.point[1] * height / rows))
    cv2.circle(panel, at, 6, (255, 255, 255), -1, cv2.LINE_AA)
    cv2.circle(panel, at, 4, (220, 30, 40), -1, cv2.LINE_AA)
    return panel


def _heat_panel(plain: Image8, result: Result, scale: float) -> Image8:
    share = result.anomaly_map / max(float(result.map_threshold), 1e-12)
    heat = _spread(share.astype(np.float32), result, plain.shape[:2], scale)
    level = np.clip((heat - _HEAT_FROM) / (_HEAT_TO - _HEAT_FROM), 0.0, 1.0)
    # Inferno begins at black; its dark end would read as shadow, so it starts at purple.
    index = (70 + level * 185).astype(np.uint8)
    colour = cv2.cvtColor(cv2.applyColorMap(index, cv2.COLORMAP_INFERNO), cv2.COLOR_BGR2RGB)
    opacity = (np.clip(level * 4.0, 0.0, 1.0) * 0.62)[..., None]
    panel = (plain * (1.0 - opacity) + colour * opacity + 0.5).astype(np.uint8)
    mask = _spread(result.mask.astype(np.float32), result, plain.shape[:2], scale) > 0.5
    panel = _outline(panel, mask, _CONTOUR)
    return _boxes(panel, result, scale)


def _spread(plane: Array, result: Result, shape: tuple[int, int], scale: float) -> Array:
    """Lay a plane of the map's geometry over a panel; outside the map it is 0."""
    x, y, width, height = (value * scale for value in result.map_box)
    rows, columns = plane.shape
    # Panel pixel (u, v) looks at the map's pixel ((u + 0.5 - x) * columns / width - 0.5, ...).
    back = np.array(
        [
            [columns / width, 0.0, (0.5 - x) * columns / width - 0.5],
            [0.0, rows / height, (0.5 - y) * rows / height - 0.5],
        ]
    )
    spread = cv2.warpAffine(
        plane,
        back,
        (shape[1], shape[0]),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    u = np.arange(shape[1]) + 0.5
    v = np.arange(shape[0]) + 0.5
    inside = ((v >= y) & (v <= y + height))[:, None] & ((u >= x) & (u <= x + width))[None, :]
    return np.where(inside, spread, 0.0)


def _outline(panel: Image8, mask: npt.NDArray[np.bool_], colour: tuple[int, int, int]) -> Image8:
    contours, _ = cv2.findContours(
        mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE
    )
    cv2.drawContours(panel, contours, -1, (0, 0, 0), 3, cv2.LINE_AA)
    cv2.drawContours(panel, contours, -1, colour, 1, cv2.LINE_AA)
    return panel


def _boxes(panel: Image8, result: Result, scale: float) -> Image8:
    """Boxes of the strongest regions; labels avoid the panel's edge and each other."""
    picture = Image.fromarray(panel)
    draw, font = ImageDraw.Draw(picture), _font(13)
    width, height = picture.size
    taken: list[tuple[float, float, float, float]] = []
    for region in result.regions[:_MAX_BOXES]:
        left, top = region.x * scale - 3, region.y * scale - 3
        right = (region.x + region.width) * scale + 3
        bottom = (region.y + region.height) * scale + 3
        draw.rectangle((left, top, right, bottom), outline=_BOX, width=2)
        text = f"{region.score:.3g}"
        wide, high = draw.textlength(text, font=font) + 6, 17.0
        x = min(max(left, 0.0), width - wide)
        for y in (top - high, bottom + 1, top + 2):
            label = (x, y, x + wide, y + high)
            free = all(
                label[2] <= a or label[0] >= c or label[3] <= b or label[1] >= d
                for a, b, c, d in taken
            )
            if y >= 0 and y + high <= height and free:
                taken.append(label)
                draw.rectangle(label, fill=_BOX)
                draw.text((x + 3, y + high / 2), text, fill=(0, 0, 0), font=font, anchor="lm")
                break
    return np.array(picture)


def _compose(panels: list[tuple[str, Image8]], result: Result, title: str) -> Image8:
    high, wide = panels[0][1].shape[:2]
    verdict = result.verdict
    parts = [
        f"score {result.score:.4g}",
        f"threshold {result.threshold:.4g}",
        f"p {result.p_value:.2g}",
    ]
    if result.review_threshold is not None:
        parts.insert(2, f"review from {result.review_threshold:.4g}")
    numbers = "    ".join(parts)
    big, small, caption = _font(24), _font(15), _font(13)
    start = _MARGIN + big.getlength(verdict.value) + 18
    # A banner is never narrower than its verdict and numbers: tall, thin frames get a wider canvas.
    needed = round(start + small.getlength(numbers)) + _MARGIN
    width = max(len(panels) * wide + (len(panels) + 1) * _GAP, needed)
    picture = Image.new("RGB", (width, _BANNER + _CAPTION + high + _GAP), _CANVAS)
    draw = ImageDraw.Draw(picture)
    draw.rectangle((0, 0, width, _BANNER), fill=_COLORS[verdict])
    draw.text((_MARGIN, _BANNER / 2), verdict.value, fill=_TEXT, font=big, anchor="lm")
    draw.text((start, _BANNER / 2), numbers, fill=_TEXT, font=small, anchor="lm")
    room = width - needed - 18
    if shown := _fitting(title, room, small):
        draw.text((width - _MARGIN, _BANNER / 2), shown, fill=_TEXT, font=small, anchor="rm")
    left = (width - len(panels) * wide - (len(panels) - 1) * _GAP) // 2
    for name, panel in panels:
        at = (left + 2, _BANNER + _CAPTION / 2)
        draw.text(at, _fitting(name, wide, caption), fill=_QUIET, font=caption, anchor="lm")
        picture.paste(Image.fromarray(panel), (left, _BANNER + _CAPTION))
        left += wide + _GAP
    return np.array(picture)


def _fitting(text: str, room: float, font: ImageFont.FreeTypeFont) -> str:
    """The text on one line; too long, it loses its front: a file name's end tells more.

    Pillow's own font knows ASCII only. Accents are dropped; other characters show as boxes.
    """
    plain = unicodedata.normalize("NFKD", text)
    line = "".join(c if c.isprintable() else "?" for c in plain if not unicodedata.combining(c))
    if font.getlength(line) <= room:
        return line
    while line and font.getlength("..." + line) > room:
        line = line[1:]
    return "..." + line if line else ""


@lru_cache(maxsize=8)
def _font(size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size)
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise RuntimeError(
            "[draw_overlay] this Pillow was built without FreeType. Install Pillow's wheel."
        )
    return font
