"""Defects of the demo part, each worked into its surface before the light falls on it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from pyad_edge.export.demo.geometry import HOLE_RADIUS, HOLES, Geometry, hole_centre

__all__ = ["DEFECT_PAINTERS", "Surface"]

Array = npt.NDArray[Any]


@dataclass
class Surface:
    """One part's surface; painters change the arrays in place.

    Attributes:
        height: (S, S) float32, pixels.
        albedo: (S, S) float32.
        gloss: (S, S) float32, factor on everything mirror-like.
        solid: (S, S) float32, factor on the part's own cover; 0 where material is gone.
        tint: (S, S, 3) float32, factor on the light's colour, or None for all ones.
        mask: (S, S) bool, the ground truth.
    """

    height: Array
    albedo: Array
    gloss: Array
    solid: Array
    tint: Array | None
    mask: Array

    @classmethod
    def of(cls, height: Array, albedo: Array) -> Surface:
        """A surface without a defect."""
        ones = np.ones_like(height)
        return cls(height, albedo, ones, ones.copy(), None, np.zeros(height.shape, bool))


def _spot(
    rng: np.random.Generator, low: float, high: float, *, clear: float = 0.0
) -> tuple[float, float]:
    """A random place (x, y) between two radii, evenly over the area, ``clear`` of bolt holes."""
    while True:
        radius, angle = np.sqrt(rng.uniform(low**2, high**2)), rng.uniform(0, 2 * np.pi)
        x, y = float(radius * np.cos(angle)), float(radius * np.sin(angle))
        holes = (hole_centre(index) for index in range(HOLES))
        if all(np.hypot(x - cx, y - cy) > HOLE_RADIUS + clear for cx, cy in holes):
            return x, y


def _pixels(shape: Geometry, points: Array) -> Array:
    """Points (n, 2) in outer radii as pixels of the canvas with 4 fractional bits."""
    middle = (shape.r.shape[0] - 1) / 2
    return np.asarray(np.round((points * shape.radius_px + middle) * 16).astype(np.int32))


def _line(shape: Geometry, points: Array, width: int) -> Array:
    """An antialiased polyline, 0..1, (S, S) float32."""
    canvas = np.zeros(shape.r.shape, np.uint8)
    cv2.polylines(canvas, [_pixels(shape, points)], False, 255, width, cv2.LINE_AA, 4)
    return np.asarray(canvas.astype(np.float32) / 255.0)


def _grown(cover: Array, pixels: int) -> Array:
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * pixels + 1, 2 * pixels + 1))
    return np.asarray(cv2.dilate((cover > 0.3).astype(np.uint8), kernel) > 0)


def _blob(
    rng: np.random.Generator, shape: Geometry, at: tuple[float, float], radius: float, rough: float
) -> Array:
    """Distance-like field of an irregular blob: > 0 inside, about 1 in its middle."""
    dx, dy = shape.x - at[0], shape.y - at[1]
    turn, stretch = rng.uniform(0, np.pi), rng.uniform(1.0, 1.6)
    u = dx * np.cos(turn) + dy * np.sin(turn)
    v = (dy * np.cos(turn) - dx * np.sin(turn)) * stretch
    side = shape.r.shape[0]
    cells = max(4, int(1.6 / radius))
    noise = cv2.resize(
        rng.standard_normal((cells, cells), dtype=np.float32), (side, side),
        interpolation=cv2.INTER_CUBIC,
    )  # fmt: skip
    return np.asarray(1.0 - np.hypot(u, v) / radius + rough * noise, dtype=np.float32)


def _scale(shape: Geometry) -> float:
    return float(shape.radius_px / 220.0)


def scratch(rng: np.random.Generator, shape: Geometry, surface: Surface) -> None:
    """A tool slipped: one to three long, slightly bent grooves with bright edges."""
    middle, heading = np.array(_spot(rng, 0.30, 0.88)), rng.uniform(0, 2 * np.pi)
    length, bend = rng.uniform(0.25, 0.65), rng.uniform(-0.8, 0.8)
    steps = np.linspace(-0.5, 0.5, 24)
    way = heading + bend * steps + 0.01 * rng.standard_normal(24).cumsum()
    path = np.cumsum(np.stack([np.cos(way), np.sin(way)], 1), 0) * length / 24
    path += middle - path[12]
    cover = np.zeros(shape.r.shape, np.float32)
    for _ in range(int(rng.integers(1, 4))):
        beside = path + rng.normal(0, 0.010, 2)
        first = int(rng.integers(0, 6))
        cover = np.maximum(cover, _line(shape, beside[first:], 2))
    cover *= shape.solid
    depth = rng.uniform(0.7, 1.1)
    soft = cv2.GaussianBlur(cover, (0, 0), 0.8 * _scale(shape))
    surface.height -= 3.8 * depth * soft
    surface.albedo *= 1.0 + 0.42 * depth * soft
    surface.mask |= _grown(cover, 2)


def dent(rng: np.random.Generator, shape: Geometry, surface: Surface) -> None:
    """A blow: a smooth hollow with a raised rim on a machined face."""
    radius = rng.uniform(0.060, 0.100)
    face = (0.68, 0.92) if rng.random() < 0.75 else (0.42, 0.54)
    at = _spot(rng, *face, clear=0.03 + 0.8 * radius)
    field = np.clip(_blob(rng, shape, at, radius, 0.12), -1.0, 1.0)
    hollow = np.square(np.clip(field, 0.0, 1.0)) * (3.0 - 2.0 * np.clip(field, 0.0, 1.0))
    rim = np.exp(-np.square(field / 0.16))
    deep = rng.uniform(0.85, 1.2) * radius * shape.radius_px
    surface.height += (-0.50 * hollow + 0.075 * rim) * deep
    surface.albedo *= 1.0 - 0.22 * hollow
    surface.mask |= (field > -0.08) & (shape.solid > 0.5)


def stain(rng: np.random.Generator, shape: Geometry, surface: Surface) -> None:
    """Oil or rust: a blotchy brownish film with a few splashes beside it."""
    face = (0.62, 0.92) if rng.random() < 0.7 else (0.30, 0.56)
    at, radius = _spot(rng, *face, clear=0.06), rng.uniform(0.11, 0.19)
    field = _blob(rng, shape, at, radius, 0.25)
    for _ in range(int(rng.integers(1, 4))):
        beside = np.array(at) + rng.normal(0, radius, 2)
        drop = rng.uniform(0.015, 0.035)
        field = np.maximum(field, 1.0 - np.hypot(shape.x - beside[0], shape.y - beside[1]) / drop)
    side = shape.r.shape[0]
    cells = rng.standard_normal((38, 38), dtype=np.float32)
    blotchy = cv2.resize(cells, (side, side), interpolation=cv2.INTER_CUBIC)
    film = np.clip((field + 0.10 + 0.16 * blotchy) * 2.2, 0.0, 1.0) * shape.solid
    thick = film * (0.72 + 0.22 * np.clip(blotchy, -1.0, 1.3))
    edge = np.exp(-np.square((film - 0.35) / 0.22)) * (film > 0)
    strength = rng.uniform(0.8, 1.1)
    colour = np.array([0.10, 0.26, 0.46], np.float32) * strength * rng.uniform(0.6, 1.1)
    surface.tint = 1.0 - thick[..., None] * colour
    surface.albedo *= 1.0 - strength * (0.34 * thick + 0.14 * edge)
    surface.gloss *= 1.0 - 0.85 * film
    surface.mask |= film > 0.3


def crack(rng: np.random.Generator, shape: Geometry, surface: Surface) -> None:
    """A fatigue crack: a thin, jagged, dark line that begins at a hole or at the bore."""
    if rng.random() < 0.7:
        cx, cy = hole_centre(int(rng.integers(HOLES)))
        heading = rng.uniform(0, 2 * np.pi)
        start = np.array([cx, cy]) + HOLE_RADIUS * np.array([np.cos(heading), np.sin(heading)])
    else:
        heading = rng.uniform(0, np.pi)  # away from the keyway
        start = 0.215 * np.array([np.cos(heading), np.sin(heading)])
    length = rng.uniform(0.14, 0.32)
    way = heading + 0.42 * rng.standard_normal(16)
    path = start + np.cumsum(np.stack([np.cos(way), np.sin(way)], 1), 0) * length / 16
    path = np.vstack([start, path])
    cover = _line(shape, path, int(rng.integers(1, 3)))
    if rng.random() < 0.6:
        fork = path[8] + np.cumsum(
            np.stack([np.cos(way[8:] + 0.8), np.sin(way[8:] + 0.8)], 1), 0
        ) * (length / 22)
        cover = np.maximum(cover, _line(shape, np.vstack([path[8], fork]), 1))
    cover *= shape.solid
    dark = cv2.GaussianBlur(cover, (0, 0), 0.6 * _scale(shape))
    surface.albedo *= 1.0 - np.clip(rng.uniform(0.75, 1.1) * dark, 0.0, 0.92)
    surface.gloss *= 1.0 - dark
    surface.height -= 1.2 * dark
    surface.mask |= _grown(cover, 2)


def chip(rng: np.random.Generator, shape: Geometry, surface: Surface) -> None:
    """A piece broken off the outer edge or the bore, with a rough, dull fracture face."""
    rim = 1.0 if rng.random() < 0.75 else 0.225
    angle = rng.uniform(0, 2 * np.pi) if rim == 1.0 else rng.uniform(0.2, np.pi - 0.2)
    at = (float(rim * np.cos(angle)), float(rim * np.sin(angle)))
    field = _blob(rng, shape, at, rng.uniform(0.06, 0.12), 0.14)
    broken = np.clip(field * 8.0, 0.0, 1.0) * shape.solid
    rough = cv2.GaussianBlur(
        rng.standard_normal(field.shape, dtype=np.float32), (0, 0), 2.0 * _scale(shape)
    )
    surface.height -= broken * (np.clip(field, 0, 1) * 16.0 * _scale(shape) + 2.4 * rough)
    surface.albedo *= 1.0 - broken * (0.16 - 0.5 * rough)
    surface.gloss *= 1.0 - broken
    # Near the rim the material is gone altogether.
    surface.solid *= 1.0 - np.clip((field - 0.62) * 8.0, 0.0, 1.0)
    surface.mask |= (broken > 0.3) & (shape.solid > 0.3)


def burr(rng: np.random.Generator, shape: Geometry, surface: Surface) -> None:
    """A curl of metal left standing along the edge of a bolt hole, with its shadow."""
    cx, cy = hole_centre(int(rng.integers(HOLES)))
    start, span = rng.uniform(0, 2 * np.pi), rng.uniform(1.6, 3.2)
    steps = np.linspace(0, 1, 20)
    lift = rng.uniform(0.5, 0.85)
    ragged = HOLE_RADIUS * (1.04 + lift * np.sin(np.pi * steps) * rng.uniform(0.55, 1.0, 20))
    way = start + span * steps
    path = np.stack([cx + ragged * np.cos(way), cy + ragged * np.sin(way)], 1)
    cover = _line(shape, path, max(2, round(5 * _scale(shape)))) * (shape.solid > 0.02)
    soft = cv2.GaussianBlur(cover, (0, 0), 1.0 * _scale(shape))
    shadow = np.roll(soft, (round(5 * _scale(shape)), round(4 * _scale(shape))), (0, 1))
    surface.albedo *= 1.0 - 0.75 * np.clip(shadow - soft, 0.0, 1.0)
    surface.height += 6.0 * _scale(shape) * soft
    surface.albedo += 0.42 * soft
    surface.mask |= _grown(np.maximum(cover, shadow * (shape.solid > 0.5)), 1)


DEFECT_PAINTERS: dict[str, Callable[[np.random.Generator, Geometry, Surface], None]] = {
    "burr": burr,
    "chip": chip,
    "crack": crack,
    "dent": dent,
    "scratch": scratch,
    "stain": stain,
}
