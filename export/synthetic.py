"""Synthetic defects on pictures of good parts, with their masks: seeded, plain NumPy and OpenCV.

Two kinds, after MemSeg (Yang et al. 2023, section 3.1), which supplement D of ReConPatch follows:
*structural* (patches of the picture itself, shuffled) and *texture* (a foreign picture). Either is
blended into an irregular region: I' = (1 - a M) I + a M S, with the mask M, softened at its
edge, and the opacity a. They stand in for real defects where settings are chosen and where the
refinement network learns; a figure measured on them says nothing about real defects.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from pyad_edge.errors import DataError, SettingError
from pyad_edge.export.synthetic_regions import random_region
from pyad_edge.export.synthetic_textures import Textures

__all__ = ["Kind", "SyntheticDefect", "SyntheticSettings", "add_defect"]

Frame = NDArray[np.uint8]  # (H, W, 3) or (H, W)
Kind = Literal["structural", "texture"]

MIN_SIDE = 16
_ATTEMPTS = 12


@dataclass(frozen=True)
class SyntheticSettings:
    """How large and how visible synthetic defects are.

    Attributes:
        kinds: drawn with equal chances.
        area: (least, largest) share of the picture that one region covers, drawn evenly on a
            logarithmic scale.
        opacity: (least, largest) blending factor a; MemSeg draws it from [0.15, 1].
        streaks: share of the regions that are thin, like scratches and cracks; the rest are blobs.
        regions: most regions of a picture.
        change: least mean difference inside the mask, in grey levels of 255; a draw that changes
            less is repeated, since nobody could see it.
        grid: (rows, columns) of patches that a structural defect shuffles; MemSeg: 8 x 4.
    """

    kinds: tuple[Kind, ...] = ("structural",)
    area: tuple[float, float] = (0.002, 0.06)
    opacity: tuple[float, float] = (0.3, 1.0)
    streaks: float = 0.4
    regions: int = 2
    change: float = 6.0
    grid: tuple[int, int] = (8, 4)

    def __post_init__(self) -> None:
        """Refuse settings that no defect can follow.

        Raises:
            SettingError: names the setting and its value.
        """
        if not self.kinds or set(self.kinds) - {"structural", "texture"}:
            raise SettingError(
                f"[synthetic] expected kinds of 'structural' and 'texture', got {self.kinds}."
            )
        for name, (low, high), most in (
            ("area", self.area, 0.5), ("opacity", self.opacity, 1.0)
        ):  # fmt: skip
            if not 0.0 < low <= high <= most:
                raise SettingError(
                    f"[synthetic] expected {name} as 0 < least <= largest <= {most:g}, got "
                    f"{low:g} and {high:g}."
                )
        if not 0.0 <= self.streaks <= 1.0 or self.regions < 1 or min(self.grid) < 2:
            raise SettingError(
                f"[synthetic] expected streaks in [0, 1], regions of at least 1 and a grid of at "
                f"least 2 x 2, got {self.streaks}, {self.regions} and {self.grid}."
            )
        if not 0.0 <= self.change <= 64.0:
            raise SettingError(
                f"[synthetic] expected change in [0, 64] grey levels, got {self.change}."
            )


@dataclass(frozen=True, eq=False)
class SyntheticDefect:
    """A picture with a defect in it.

    Attributes:
        picture: uint8, of the shape that was given.
        mask: (H, W) bool, the defect.
        kind: structural or texture.
        opacity: a.
        change: mean absolute difference inside the mask, grey levels.
    """

    picture: Frame
    mask: NDArray[np.bool_]
    kind: Kind
    opacity: float
    change: float


def add_defect(
    picture: Frame,
    rng: np.random.Generator,
    *,
    settings: SyntheticSettings | None = None,
    textures: Textures | None = None,
) -> SyntheticDefect:
    """Put a defect into a picture of a good part. The same generator state gives the same defect.

    Args:
        picture: (H, W, 3) or (H, W) uint8, sides of at least 16 pixels; not changed.
        rng: source of randomness; ``np.random.default_rng([seed, index])`` makes a picture's
            defect independent of the others'.
        settings: none: the defaults.
        textures: foreign pictures; needed by the kind "texture".

    Raises:
        DataError: if the picture is no such array, or so even that no defect can be seen on it.
        SettingError: if textures are needed and missing.
    """
    settings = settings or SyntheticSettings()
    _check(picture)
    kind: Kind = settings.kinds[int(rng.integers(len(settings.kinds)))]
    if kind == "texture" and textures is None:
        raise SettingError(
            "[synthetic] texture defects need a folder of pictures to take textures from. Name "
            "one, or use structural defects alone."
        )
    for _ in range(_ATTEMPTS):
        mask = _regions(picture.shape[:2], rng, settings)
        opacity = float(rng.uniform(*settings.opacity))
        if kind == "texture" and textures is not None:
            source = textures.like(picture, rng)
        else:
            source = _shuffled(picture, rng, settings.grid)
        blended = _blend(picture, source, mask, opacity, softness=float(rng.uniform(0.0, 1.5)))
        change = float(np.abs(blended[mask].astype(np.int16) - picture[mask]).mean())
        if change >= settings.change:
            return SyntheticDefect(blended, mask, kind, opacity, change)
    raise DataError(
        f"[synthetic] {_ATTEMPTS} {kind} defects changed this picture by less than "
        f"{settings.change:g} grey levels: it is too even for them. Use textures, or a smaller "
        "change."
    )


def _check(picture: Any) -> None:
    shape: tuple[int, ...] = getattr(picture, "shape", ())
    dtype = getattr(picture, "dtype", None)
    good = dtype == np.uint8 and (len(shape) == 2 or (len(shape) == 3 and shape[2] == 3))
    if not good or min(shape[:2]) < MIN_SIDE:
        raise DataError(
            "[synthetic] expected a picture (H, W, 3) or (H, W) uint8 with sides of at least "
            f"{MIN_SIDE} pixels, got {dtype} of shape {shape}. Convert deeper frames to 8 bits "
            "first."
        )


def _regions(
    shape: tuple[int, ...], rng: np.random.Generator, settings: SyntheticSettings
) -> NDArray[np.bool_]:
    """(H, W) bool: one or more irregular regions."""
    mask = np.zeros(shape, bool)
    low, high = np.log(settings.area)
    for _ in range(int(rng.integers(1, settings.regions + 1))):
        streak = bool(rng.random() < settings.streaks)
        area = float(np.exp(rng.uniform(low, high)))
        mask |= random_region((shape[0], shape[1]), rng, area=area, streak=streak)
    return mask


def _shuffled(picture: Frame, rng: np.random.Generator, grid: tuple[int, int]) -> Frame:
    """The picture mirrored, relit, and cut into patches that change places."""
    changed = picture[:: int(rng.choice([-1, 1])), :: int(rng.choice([-1, 1]))]
    gain, shift = rng.uniform(0.8, 1.25), rng.uniform(-20.0, 20.0)
    changed = np.clip(changed * np.float32(gain) + np.float32(shift), 0, 255).astype(np.uint8)
    H, W = picture.shape[:2]
    h, w = -(-H // grid[0]), -(-W // grid[1])
    # Patches of one size: the last row and column reach back over their neighbours.
    rows = [min(i * h, H - h) for i in range(grid[0])]
    columns = [min(j * w, W - w) for j in range(grid[1])]
    places = [(row, column) for row in rows for column in columns]
    result = np.empty_like(picture)
    for (row, column), source in zip(places, rng.permutation(len(places)), strict=True):
        i, j = places[source]
        result[row : row + h, column : column + w] = changed[i : i + h, j : j + w]
    return result


def _blend(
    picture: Frame, source: Frame, mask: NDArray[np.bool_], opacity: float, *, softness: float
) -> Frame:
    cover = mask.astype(np.float32)
    if softness > 0.3:
        cover = np.asarray(cv2.GaussianBlur(cover, (0, 0), softness), np.float32)
        cover = np.where(mask, np.maximum(cover, 0.5), cover)  # thin regions do not fade away
        cover[cover < 0.02] = 0.0
    cover *= np.float32(opacity)
    weight = cover if picture.ndim == 2 else np.expand_dims(cover, 2)
    mixed = picture + weight * (source.astype(np.float32) - picture)
    return np.clip(np.rint(mixed), 0, 255).astype(np.uint8)
