"""The shape of the demo's flange, drawn once per size at 1.5 times the picture's resolution."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

__all__ = ["HOLES", "HOLE_CIRCLE", "HOLE_RADIUS", "OVERSAMPLING", "Geometry", "flange"]

Array = npt.NDArray[Any]

OVERSAMPLING = 1.5
HOLES = 6
HOLE_CIRCLE, HOLE_RADIUS = 0.80, 0.070
_BORE, _COLLAR, _RECESS, _GROOVE = 0.215, 0.36, 0.585, (0.612, 0.642)
_LETTERING = ("FL-6  M8", "Gs 42", "0317")


@dataclass(frozen=True, eq=False)
class Geometry:
    """A good part without tool marks. Arrays are (S, S) float32, S = OVERSAMPLING x picture size.

    Attributes:
        radius_px: Outer radius in pixels of these arrays.
        x: Coordinate to the right in outer radii, 0 in the middle.
        y: Coordinate downwards.
        r: Distance from the axis.
        cos: Cosine of the angle around the axis.
        sin: Sine of it.
        height: Height in pixels of these arrays.
        albedo: Share of light that the material returns.
        turned: 1 on machined faces, 0 elsewhere.
        cast: 1 on as-cast faces.
        solid: 1 on the part, 0 on the floor and in through holes.
        floor: Brightness of what lies below.
        filled: bool, the bolt hole that is not drilled (all false normally).
        polar_x: For cv2.remap from a (96, S/2) picture over (angle, radius): the column.
        polar_y: The row.
    """

    radius_px: float
    x: Array
    y: Array
    r: Array
    cos: Array
    sin: Array
    height: Array
    albedo: Array
    turned: Array
    cast: Array
    solid: Array
    floor: Array
    filled: Array
    polar_x: Array
    polar_y: Array


def hole_centre(index: int) -> tuple[float, float]:
    """Centre (x, y) of a bolt hole in outer radii."""
    angle = np.deg2rad(60.0 * index + 30.0)
    return HOLE_CIRCLE * float(np.cos(angle)), HOLE_CIRCLE * float(np.sin(angle))


@lru_cache(maxsize=16)
def flange(size: int, missing: int | None = None) -> Geometry:
    """Draw the part for pictures of ``size`` pixels, leaving out bolt hole ``missing`` if given."""
    side = round(OVERSAMPLING * size)
    radius = 0.435 * side
    y, x = (np.mgrid[:side, :side].astype(np.float32) - (side - 1) / 2) / radius
    r, angle = np.hypot(x, y), np.arctan2(y, x)

    def inside(distance: Array, edge: float, soft: float = 1.5 / radius) -> Array:
        return np.clip((edge - distance) / soft + 0.5, 0.0, 1.0)

    def between(low: float, high: float, soft: float) -> Array:
        return inside(r, high, soft) - inside(r, low, soft)

    px = radius / 220.0  # heights below are for a part of 220 pixels radius
    solid = inside(r, 1.0)
    height = -7.0 * px * (1.0 - inside(r, 0.982, 0.034))
    height -= 5.0 * px * between(*_GROOVE, 0.012)
    recess = between(_COLLAR, _RECESS, 0.030)
    height -= 9.0 * px * recess
    rib = np.zeros_like(r)
    for degrees in (90.0, 210.0, 330.0):
        a = np.deg2rad(degrees)
        off = np.abs(-x * np.sin(a) + y * np.cos(a))
        rib = np.maximum(rib, inside(off, 0.036, 0.022) * (x * np.cos(a) + y * np.sin(a) > 0))
    height += 5.0 * px * rib * recess
    letters = _lettering(side, r, angle) * recess
    height += 2.2 * px * letters
    height -= 5.0 * px * inside(r, _BORE + 0.022, 0.034)

    keyway = np.maximum(np.abs(x) - 0.034, np.abs(y + 0.20) - 0.085)
    solid = solid * (1.0 - np.maximum(inside(r, _BORE), inside(keyway, 0.0)))
    filled = np.zeros(r.shape, bool)
    for index in range(HOLES):
        cx, cy = hole_centre(index)
        distance = np.hypot(x - cx, y - cy)
        if index == missing:
            filled = distance < HOLE_RADIUS + 0.022
            continue
        height -= 6.0 * px * inside(distance, HOLE_RADIUS + 0.014, 0.026)
        solid = solid * (1.0 - inside(distance, HOLE_RADIUS))
    pin = np.hypot(x - HOLE_CIRCLE, y)  # a dowel hole: tells the part's front from its back
    height -= 3.0 * px * inside(pin, 0.030, 0.02)
    solid = solid * (1.0 - inside(pin, 0.024))

    cast = (between(_COLLAR + 0.010, _RECESS - 0.010, 0.02)).astype(np.float32)
    groove = between(*_GROOVE, 0.008)
    turned = solid * (1.0 - between(_COLLAR - 0.004, _RECESS + 0.004, 0.012)) * (1.0 - groove)
    albedo = 0.80 - 0.24 * cast - 0.34 * groove + 0.05 * letters
    # Corners see less of the sky.
    wide = cv2.GaussianBlur(height, (0, 0), 5.0 * px)
    albedo *= np.clip(1.0 - 0.075 / px * np.clip(wide - height, 0.0, None), 0.45, 1.0)
    shadow = cv2.GaussianBlur(np.roll(solid, (int(7 * px), int(5 * px)), (0, 1)), (0, 0), 7.0 * px)
    floor = 0.135 - 0.085 * shadow

    turn = np.mod(angle / (2 * np.pi), 1.0)
    arrays = {
        "x": x, "y": y, "r": r, "cos": np.cos(angle), "sin": np.sin(angle), "height": height,
        "albedo": albedo, "turned": turned, "cast": cast, "solid": solid, "floor": floor,
        "polar_x": r * (side // 2 - 1) / 1.05, "polar_y": turn * 95.0,
    }  # fmt: skip
    arrays = {name: np.ascontiguousarray(a, dtype=np.float32) for name, a in arrays.items()}
    for array in (*arrays.values(), filled):
        array.setflags(write=False)  # shared by every picture of this size
    return Geometry(radius_px=radius, filled=filled, **arrays)


def _lettering(side: int, r: Array, angle: Array) -> Array:
    """Raised letters between the ribs, written on a strip and bent around the axis."""
    strip = np.zeros((96, 1440), np.uint8)
    for index, text in enumerate(_LETTERING):
        (width, high), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_DUPLEX, 2.3, 5)
        # Text stands upright when its middle is at the top (270 degrees), rib-free sectors only.
        middle = (270 + 120 * index) % 360 * 4
        at = (middle - width // 2, 48 + high // 2)
        cv2.putText(strip, text, at, cv2.FONT_HERSHEY_DUPLEX, 2.3, 255, 5, cv2.LINE_AA)
    column = np.mod(np.rad2deg(angle), 360.0) * 4
    row = (0.54 - r) / (0.54 - 0.40) * 95
    bent = cv2.remap(
        strip, column.astype(np.float32), row.astype(np.float32), cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT, borderValue=0,
    )  # fmt: skip
    return np.asarray(cv2.GaussianBlur(bent.astype(np.float32) / 255.0, (0, 0), side / 900))
