"""Generated pictures of a machined part, good and defective, for the demo and for tests.

A turned flange with six countersunk holes, a sealing groove, a cast recess with ribs and raised
lettering, and a bore with a keyway, seen from above under one lamp. Geometry is a height field;
light falls on the height field after a defect has been worked into it, so a dent shades like a
dent. Every picture has its own tool marks, casting grain, pose, light, exposure and sensor noise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from pyad_edge.errors import DataError, SettingError
from pyad_edge.export.demo.defects import DEFECT_PAINTERS, Surface
from pyad_edge.export.demo.geometry import HOLES, Geometry, flange

__all__ = ["DEFECTS", "make_part", "write_dataset", "write_pictures"]

Array = npt.NDArray[Any]

DEFECTS = (*DEFECT_PAINTERS, "missing_hole")
"""Names that ``make_part`` accepts as ``defect``."""


def make_part(
    rng: np.random.Generator, *, size: int = 256, defect: str | None = None
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
    """Generate one picture.

    Args:
        rng: Source of everything random; the same state gives the same picture.
        size: Height and width in pixels, at least 64.
        defect: One of ``DEFECTS``, or None for a good part.

    Returns:
        (image, mask): (size, size, 3) uint8 RGB, and (size, size) bool, true on the defect.

    Raises:
        SettingError: An unknown defect or a size below 64.
    """
    if size < 64:
        raise SettingError(f"[make_part] expected a size of at least 64 pixels, got {size}.")
    if defect is not None and defect not in DEFECTS:
        raise SettingError(
            f"[make_part] there is no defect {defect!r}; known are {', '.join(DEFECTS)}."
        )
    missing = int(rng.integers(HOLES)) if defect == "missing_hole" else None
    shape = flange(size, missing)
    surface = _machine(rng, shape)
    if missing is not None:
        surface.mask |= shape.filled
    elif defect is not None:
        DEFECT_PAINTERS[defect](rng, shape, surface)
    light = _shade(rng, shape, surface)
    return _photograph(rng, light, surface.mask, size)


def write_dataset(
    folder: str | Path,
    *,
    seed: int,
    train: int = 60,
    good: int = 30,
    per_defect: int = 6,
    size: int = 256,
) -> Path:
    """Write a data set in the MVTec layout as PNG files.

    Args:
        folder: Made if missing; must be empty.
        seed: The same seed gives the same pixels. Picture i of a class does not depend on how many
            pictures are asked for.
        train: Pictures in train/good.
        good: Pictures in test/good.
        per_defect: Pictures in each test/<defect>, with masks in ground_truth/<defect>.
        size: Height and width in pixels.

    Returns:
        The folder.

    Raises:
        DataError: The folder is not empty or cannot be written.
    """
    return write_pictures(
        folder,
        make_part,
        DEFECTS,
        seed=seed,
        train=train,
        good=good,
        per_defect=per_defect,
        size=size,
    )


def write_pictures(
    folder: str | Path,
    make: Callable[..., tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]],
    defects: Sequence[str],
    *,
    seed: int,
    train: int,
    good: int,
    per_defect: int,
    size: int,
) -> Path:
    """Write what ``make(rng, size=..., defect=...)`` generates; see :func:`write_dataset`.

    Raises:
        DataError: The folder is not empty or cannot be written.
    """
    root = Path(folder)
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise DataError(
            f"[write_dataset] {root} exists and is not an empty folder. Name another one."
        )
    plan: list[tuple[str, str | None, int]]
    plan = [("train/good", None, train), ("test/good", None, good)]
    plan += [(f"test/{defect}", defect, per_defect) for defect in defects]
    for number, (place, defect, count) in enumerate(plan):
        pictures, masks = root / place, root / "ground_truth" / str(defect)
        for index in range(count):
            rng = np.random.default_rng((seed, number, index))
            image, mask = make(rng, size=size, defect=defect)
            _write_png(pictures / f"{index:03d}.png", image[..., ::-1])
            if defect is not None:
                _write_png(masks / f"{index:03d}_mask.png", mask.astype(np.uint8) * 255)
    return root


def _write_png(path: Path, pixels: Array) -> None:
    # Level 1: the demo's time is better spent on the engine.
    encoded = cv2.imencode(".png", pixels, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded.tobytes())
    except OSError as error:
        raise DataError(
            f"[write_dataset] {path} cannot be written ({error.strerror}). "
            "Name a folder with space and write permission."
        ) from None


def _machine(rng: np.random.Generator, shape: Geometry) -> Surface:
    """Give the part its own tool marks and casting grain."""
    side = shape.height.shape[0]
    # Tool marks run around the axis: noise in (angle, radius), drawn out along the angle.
    marks = rng.standard_normal((96, side // 2), dtype=np.float32)
    marks = cv2.GaussianBlur(marks, (0, 0), sigmaX=0.8, sigmaY=5.0, borderType=cv2.BORDER_REFLECT)
    marks += 0.35 * rng.standard_normal((1, side // 2), dtype=np.float32)
    marks[-8:] += np.linspace(0, 1, 8, dtype=np.float32)[:, None] * (marks[0] - marks[-1])
    turned = cv2.remap(marks, shape.polar_x, shape.polar_y, cv2.INTER_LINEAR) * shape.turned

    grain = rng.standard_normal((side // 2, side // 2), dtype=np.float32)
    fine = cv2.GaussianBlur(grain, (0, 0), 0.9)
    coarse = cv2.GaussianBlur(grain[::4, ::4], (0, 0), 1.2)
    cast = cv2.resize(fine, (side, side)) * 2.4 + cv2.resize(coarse, (side, side)) * 1.6
    cast *= shape.cast

    height = shape.height + 0.15 * turned + 0.24 * cast
    albedo = shape.albedo * (1.0 + 0.055 * turned + 0.045 * cast)
    # Handling and coolant leave every surface a little uneven in tone.
    tone = cv2.resize(rng.standard_normal((6, 6), dtype=np.float32), (side, side))
    albedo *= 1.0 + 0.016 * cv2.GaussianBlur(tone, (0, 0), side / 24)
    return Surface.of(height.astype(np.float32), albedo.astype(np.float32))


def _shade(rng: np.random.Generator, shape: Geometry, surface: Surface) -> Array:
    """Light the height field: Lambert, a glossy lobe, and the bow-tie of turned metal."""
    azimuth = np.deg2rad(-128.0 + 4.0 * rng.standard_normal())
    east, south = 0.70 * np.cos(azimuth), 0.70 * np.sin(azimuth)
    slope_x = cv2.Sobel(surface.height, cv2.CV_32F, 1, 0, ksize=3, scale=0.125)
    slope_y = cv2.Sobel(surface.height, cv2.CV_32F, 0, 1, ksize=3, scale=0.125)
    norm = 1.0 / np.sqrt(slope_x * slope_x + slope_y * slope_y + 1.0)
    facing = (0.714 - slope_x * east - slope_y * south) * norm
    diffuse = np.clip(facing, 0.0, None) / 0.714
    # Half-way vector between the lamp and the camera straight above.
    shine = np.clip((0.926 - (slope_x * east + slope_y * south) * 0.54) * norm, 0.0, 1.0)
    shine = np.square(np.square(np.square(shine))) * surface.gloss
    across = shape.cos * np.sin(azimuth) - shape.sin * np.cos(azimuth)
    bow_tie = np.exp(-np.square(across / 0.38)) * shape.turned * surface.gloss
    # A lamp at a finite distance: its side of the picture is brighter.
    falloff = 1.0 + 0.13 * (shape.x * np.cos(azimuth) + shape.y * np.sin(azimuth))
    grey = surface.albedo * (0.20 + 0.44 * diffuse + 0.30 * bow_tie) + 0.07 * shine * (
        shape.turned * 0.8 + 0.2
    )
    grey = grey * falloff * shape.solid * surface.solid
    floor = shape.floor * (0.55 + 0.45 * falloff)
    grey += floor * (1.0 - shape.solid * surface.solid)
    grey *= 1.0 + 0.02 * rng.standard_normal()
    light = cv2.merge([grey, grey, grey])
    return np.asarray(light if surface.tint is None else light * surface.tint, dtype=np.float32)


def _photograph(
    rng: np.random.Generator, light: Array, mask: Array, size: int
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
    """Pose, lens, exposure and sensor."""
    side = light.shape[0]
    angle, zoom = rng.uniform(-2.0, 2.0), 1.0 + rng.uniform(-0.006, 0.006)
    pose = cv2.getRotationMatrix2D((side / 2 - 0.5, side / 2 - 0.5), angle, zoom)
    pose[:, 2] += rng.uniform(-0.012, 0.012, 2) * side
    light = cv2.warpAffine(light, pose, (side, side), borderMode=cv2.BORDER_REFLECT)
    light = cv2.resize(light, (size, size), interpolation=cv2.INTER_AREA)
    light = cv2.GaussianBlur(light, (0, 0), rng.uniform(0.45, 0.65))
    cover = cv2.warpAffine(mask.astype(np.float32), pose, (side, side))
    cover = cv2.resize(cover, (size, size), interpolation=cv2.INTER_AREA)

    gain = 1.0 + rng.uniform(-0.06, 0.06)
    balance = np.array([0.985, 1.0, 1.03]) * (1.0 + 0.004 * rng.standard_normal(3))
    light = light * (gain * balance).astype(np.float32)
    # Shot noise grows with the root of the light, read noise does not.
    sigma = np.sqrt(np.clip(light, 0.0, 1.0) * 1.2e-4 + 2.0e-5)
    light = light + sigma * rng.standard_normal(light.shape, dtype=np.float32)
    image = np.clip(np.power(np.clip(light, 0.0, 1.0), 0.85) * 255.0 + 0.5, 0, 255)
    return image.astype(np.uint8), np.asarray(cover > 0.5)
