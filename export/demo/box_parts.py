"""The parts that lie in the demo's box: bodies of revolution on their side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["KINDS", "PartKind", "Scene", "place_part"]

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class PartKind:
    """A body of revolution.

    Attributes:
        name: of the part.
        profile: (place along the axis, radius) in units of the part's half length, ends at +-1.
        colours: for each stretch of the profile, RGB in [0, 1].
        gloss: strength of the highlight.
        thread: depth of a thread on the last stretch but one, in units of the half length.
        half_length: in units of a compartment's width.
    """

    name: str
    profile: tuple[tuple[float, float], ...]
    colours: tuple[tuple[float, float, float], ...]
    gloss: float
    thread: float = 0.0
    half_length: float = 0.34


STEEL = (0.58, 0.59, 0.61)
BRASS = (0.80, 0.63, 0.30)
_PIN = (
    (-1.0, 0.26),
    (-0.84, 0.30),
    (-0.80, 0.15),
    (-0.30, 0.12),
    (-0.10, 0.27),
    (0.06, 0.25),
    (0.08, 0.045),
    (0.80, 0.04),
    (1.0, 0.01),
)


def _pin(name: str, colour: tuple[float, float, float]) -> PartKind:
    return PartKind(name, _PIN, (colour,) * 6 + (STEEL,) * 2, gloss=0.55)


KINDS = (
    _pin("red pin", (0.72, 0.10, 0.09)),
    PartKind(
        "screw",
        ((-1.0, 0.20), (-0.92, 0.30), (-0.66, 0.30), (-0.62, 0.13), (0.86, 0.13), (1.0, 0.04)),
        (STEEL, STEEL, STEEL, STEEL, STEEL),
        gloss=0.9,
        thread=0.028,
    ),
    _pin("blue pin", (0.08, 0.20, 0.55)),
    PartKind(
        "brass pin",
        ((-1.0, 0.10), (-0.90, 0.19), (-0.34, 0.19), (-0.30, 0.25), (-0.16, 0.25), (-0.12, 0.14),
         (0.84, 0.14), (1.0, 0.08)),
        (BRASS,) * 7,
        gloss=0.8,
    ),
)  # fmt: skip
"""One a column of the box, left to right."""


@dataclass
class Scene:
    """What the lamp will fall on; parts are worked into the arrays in place.

    Attributes:
        height: (S, S) float32, pixels.
        colour: (S, S, 3) float32.
        gloss: (S, S) float32.
    """

    height: Array
    colour: Array
    gloss: Array


def place_part(
    scene: Scene, kind: PartKind, *, at: tuple[float, float], angle: float, unit: float
) -> Array:
    """Lay a part down.

    Args:
        scene: changed in place.
        kind: of the part.
        at: (x, y) of its middle, pixels.
        angle: of its axis, radians.
        unit: width of a compartment, pixels.

    Returns:
        (S, S) bool: where it is seen.
    """
    half = kind.half_length * unit
    S = scene.height.shape[0]
    reach = int(half * 1.1) + 2
    x0, x1 = max(0, int(at[0]) - reach), min(S, int(at[0]) + reach + 1)
    y0, y1 = max(0, int(at[1]) - reach), min(S, int(at[1]) + reach + 1)
    ys, xs = np.mgrid[y0:y1, x0:x1].astype(np.float32)
    dx, dy = (xs - at[0]) / half, (ys - at[1]) / half
    along = dx * np.cos(angle) + dy * np.sin(angle)
    across = dy * np.cos(angle) - dx * np.sin(angle)
    places = np.array([point[0] for point in kind.profile], np.float32)
    radii = np.array([point[1] for point in kind.profile], np.float32)
    radius = np.interp(along, places, radii, left=0.0, right=0.0)
    if kind.thread:
        threaded = (along > places[-3] + 0.06) & (along < places[-2])
        # The flanks run askew, as they do on a screw that is seen from the side.
        turns = np.sin((along + 0.25 * across) * np.float32(2 * np.pi / 0.15))
        radius = radius + np.where(threaded, kind.thread * turns, 0.0)
    inside = np.abs(across) < radius
    bulge = np.sqrt(np.clip(radius**2 - across**2, 0, None))
    top = (float(radii.max()) + bulge) * half
    region = np.s_[y0:y1, x0:x1]
    seen = inside & (top > scene.height[region])
    scene.height[region] = np.where(seen, top, scene.height[region])
    stretch = np.clip(np.searchsorted(places, along) - 1, 0, len(kind.colours) - 1)
    colours = np.array(kind.colours, np.float32)[stretch]
    scene.colour[region] = np.where(seen[..., None], colours, scene.colour[region])
    scene.gloss[region] = np.where(seen, kind.gloss, scene.gloss[region])
    cover = np.zeros((S, S), bool)
    cover[region] = seen
    return cover
