"""Generated pictures of a sorting box, good and with logical defects, for tests and docs.

A box of three rows and four columns of compartments, one part in each: every column has its own
kind of part. Parts lie anywhere in their compartment, in any direction. Nothing about a defect is
damaged: a part is missing, there is one too many, or two have changed places.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from pyad_edge.errors import SettingError
from pyad_edge.export.demo.box_parts import KINDS, Scene, place_part
from pyad_edge.export.demo.part import write_pictures

__all__ = ["BOX_DEFECTS", "make_box", "write_box_dataset"]

Array = npt.NDArray[Any]

BOX_DEFECTS = ("missing", "extra", "misplaced")
"""Names that ``make_box`` accepts as ``defect``."""
ROWS, COLUMNS = 3, 4
MARGIN, WALL = 0.055, 0.014  # of the picture's side: around the box, half a wall's thickness
WALL_HEIGHT = 0.07
APART = 0.20  # least distance of two parts in one compartment, of its height


def make_box(
    rng: np.random.Generator, *, size: int = 256, defect: str | None = None
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
    """Generate one picture.

    Args:
        rng: source of everything random; the same state gives the same picture.
        size: height and width in pixels, at least 64.
        defect: one of ``BOX_DEFECTS``, or None for a good box.

    Returns:
        (image, mask): (size, size, 3) uint8 RGB, and (size, size) bool: the empty compartment, both
        parts where there is one too many, or the two parts that changed places.

    Raises:
        SettingError: an unknown defect or a size below 64.
    """
    if size < 64:
        raise SettingError(f"[make_box] expected a size of at least 64 pixels, got {size}.")
    if defect is not None and defect not in BOX_DEFECTS:
        raise SettingError(
            f"[make_box] there is no defect {defect!r}; known are {', '.join(BOX_DEFECTS)}."
        )
    S = 2 * size
    scene = _empty_box(rng, S)
    contents = [[kind] for _ in range(ROWS) for kind in range(COLUMNS)]
    changed = _apply(rng, contents, defect)
    mask = np.zeros((S, S), bool)
    for place, kinds in enumerate(contents):
        covers = _fill(rng, scene, place, kinds)
        if place in changed:
            if defect == "missing":
                left, top, right, bottom = _compartment(place, S)
                mask[top:bottom, left:right] = True
            for cover in covers:
                mask |= cover
    return _photograph(rng, _light(rng, scene), mask, size)


def write_box_dataset(
    folder: str | Path,
    *,
    seed: int,
    train: int = 200,
    good: int = 60,
    per_defect: int = 30,
    size: int = 256,
) -> Path:
    """Write a data set in the MVTec layout as PNG files.

    Args:
        folder: made if missing; must be empty.
        seed: the same seed gives the same pixels. Picture i of a class does not depend on how many
            pictures are asked for.
        train: pictures in train/good.
        good: pictures in test/good.
        per_defect: pictures in each test/<defect>, with masks in ground_truth/<defect>.
        size: height and width in pixels.

    Returns:
        The folder.

    Raises:
        DataError: the folder is not empty or cannot be written.
    """
    return write_pictures(
        folder,
        make_box,
        BOX_DEFECTS,
        seed=seed,
        train=train,
        good=good,
        per_defect=per_defect,
        size=size,
    )


def _apply(rng: np.random.Generator, contents: list[list[int]], defect: str | None) -> set[int]:
    """Change what lies where; gives the numbers of the compartments that are wrong."""
    if defect is None:
        return set()
    place = int(rng.integers(len(contents)))
    if defect == "missing":
        contents[place] = []
        return {place}
    if defect == "extra":
        contents[place].append(int(rng.integers(COLUMNS)))
        return {place}
    others = [i for i in range(len(contents)) if i % COLUMNS != place % COLUMNS]
    other = others[int(rng.integers(len(others)))]
    contents[place], contents[other] = contents[other], contents[place]
    return {place, other}


def _compartment(place: int, S: int) -> tuple[int, int, int, int]:
    """(left, top, right, bottom) of a compartment's floor, pixels."""
    row, column = divmod(place, COLUMNS)
    edge, wall = MARGIN * S, WALL * S
    width, height = (S - 2 * edge) / COLUMNS, (S - 2 * edge) / ROWS
    left, top = edge + column * width, edge + row * height
    corners = (left + wall, top + wall, left + width - wall, top + height - wall)
    x0, y0, x1, y1 = (round(value) for value in corners)
    return x0, y0, x1, y1


def _empty_box(rng: np.random.Generator, S: int) -> Scene:
    """White plastic on a table; tone and grain are every picture's own."""
    height = np.full((S, S), np.float32(WALL_HEIGHT * S))
    colour = np.empty((S, S, 3), np.float32)
    colour[:] = (0.80, 0.81, 0.80)
    edge = round((MARGIN - WALL) * S)
    outside = np.ones((S, S), bool)
    outside[edge:-edge, edge:-edge] = False
    height[outside] = 0.0
    colour[outside] = (0.20, 0.21, 0.23)
    for place in range(ROWS * COLUMNS):
        left, top, right, bottom = _compartment(place, S)
        height[top:bottom, left:right] = 0.0
        colour[top:bottom, left:right] = (0.70, 0.71, 0.72)
    height = cv2.GaussianBlur(height, (0, 0), S / 340)  # moulded edges are round
    grain = rng.standard_normal((S, S), dtype=np.float32)
    colour *= 1 + 0.012 * cv2.GaussianBlur(grain, (0, 0), 1.6)[..., None] * 3
    tone = cv2.resize(rng.standard_normal((5, 5), dtype=np.float32), (S, S))
    colour *= 1 + 0.012 * cv2.GaussianBlur(tone, (0, 0), S / 20)[..., None]
    return Scene(height, colour, np.full((S, S), np.float32(0.12)))


def _fill(rng: np.random.Generator, scene: Scene, place: int, kinds: list[int]) -> list[Array]:
    """Lay parts into a compartment, none across a wall; two lie apart."""
    S = scene.height.shape[0]
    left, top, right, bottom = _compartment(place, S)
    unit, tall = right - left, bottom - top
    covers: list[Array] = []
    middles: list[tuple[float, float]] = []
    for kind in kinds:
        half = KINDS[kind].half_length * unit
        for _ in range(200):
            angle = float(rng.uniform(0, 2 * np.pi))
            # Room for the part in its direction, and for its thickness.
            dx = half * (0.32 + 0.72 * abs(np.cos(angle)))
            dy = half * (0.32 + 0.72 * abs(np.sin(angle)))
            x = float(rng.uniform(left + min(dx, unit / 2), right - min(dx, unit / 2)))
            y = float(rng.uniform(top + min(dy, tall / 2), bottom - min(dy, tall / 2)))
            if all(np.hypot(x - u, y - v) > 2 * APART * tall for u, v in middles):
                break
        middles.append((x, y))
        covers.append(place_part(scene, KINDS[kind], at=(x, y), angle=angle, unit=unit))
    return covers


def _light(rng: np.random.Generator, scene: Scene) -> Array:
    """One lamp from the upper left: Lambert, a highlight, cast shadows, light from all around."""
    azimuth = np.deg2rad(-130.0 + 5.0 * rng.standard_normal())
    east, south = float(np.cos(azimuth)), float(np.sin(azimuth))
    slope_x = cv2.Sobel(scene.height, cv2.CV_32F, 1, 0, ksize=3, scale=0.125)
    slope_y = cv2.Sobel(scene.height, cv2.CV_32F, 0, 1, ksize=3, scale=0.125)
    norm = 1.0 / np.sqrt(slope_x**2 + slope_y**2 + 1.0)
    facing = np.clip((0.78 - 0.62 * (slope_x * east + slope_y * south)) * norm, 0, None)
    shine = np.clip((0.943 - 0.33 * (slope_x * east + slope_y * south)) * norm, 0, 1) ** 24
    lit = _sunlit(scene.height, (east, south))
    S = scene.height.shape[0]
    # Corners between floor and walls see less of the room.
    around = cv2.GaussianBlur(scene.height, (0, 0), S / 50)
    open_sky = np.clip(1.0 - 4.0 * np.clip(around - scene.height, 0, None) / S, 0.55, 1)
    bright = 0.38 * open_sky + 0.62 * facing / 0.78 * lit
    light = scene.colour * bright[..., None] + (0.8 * scene.gloss * shine * lit)[..., None]
    x = np.linspace(-1, 1, S, dtype=np.float32)
    falloff = 1 + 0.07 * (x[None, :] * east + x[:, None] * south)
    return np.asarray(light * falloff[..., None], np.float32)


def _sunlit(height: Array, towards: tuple[float, float]) -> Array:
    """(S, S) in [0, 1]: 0 where something higher stands between a point and the lamp."""
    S = height.shape[0]
    blocked = np.zeros_like(height)
    step = S / 256
    for number in range(1, 15):
        shift = np.array([[1, 0, -number * step * towards[0]], [0, 1, -number * step * towards[1]]])
        between = cv2.warpAffine(height, shift, (S, S), borderMode=cv2.BORDER_REPLICATE)
        blocked = np.maximum(blocked, between - height - 1.25 * number * step)
    shadow = np.clip(blocked / (1.5 * step), 0, 1)
    return np.asarray(1 - 0.75 * cv2.GaussianBlur(shadow, (0, 0), 1.2 * step))


def _photograph(
    rng: np.random.Generator, light: Array, mask: Array, size: int
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
    """Pose, lens, exposure and sensor."""
    S = light.shape[0]
    pose = cv2.getRotationMatrix2D((S / 2 - 0.5, S / 2 - 0.5), rng.uniform(-0.8, 0.8), 1.0)
    pose[:, 2] += rng.uniform(-0.008, 0.008, 2) * S
    light = cv2.warpAffine(light, pose, (S, S), borderMode=cv2.BORDER_REFLECT)
    light = cv2.resize(light, (size, size), interpolation=cv2.INTER_AREA)
    light = cv2.GaussianBlur(light, (0, 0), rng.uniform(0.45, 0.6))
    cover = cv2.warpAffine(mask.astype(np.float32), pose, (S, S))
    cover = cv2.resize(cover, (size, size), interpolation=cv2.INTER_AREA)
    light = light * np.float32(0.92 * (1 + rng.uniform(-0.05, 0.05)))
    sigma = np.sqrt(np.clip(light, 0, 1) * 1.0e-4 + 1.5e-5)
    light = light + sigma * rng.standard_normal(light.shape, dtype=np.float32)
    image = np.clip(np.power(np.clip(light, 0, 1), 0.8) * 255.0 + 0.5, 0, 255)
    return image.astype(np.uint8), np.asarray(cover > 0.5)
