"""Synthetic defects: seeds, masks, sizes, and sentences on bad input."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pyad_edge.errors import DataError, SettingError
from pyad_edge.export.synthetic import Kind, SyntheticSettings, add_defect
from pyad_edge.export.synthetic_regions import random_region, smooth_noise
from pyad_edge.export.synthetic_textures import Textures


def part(shape: tuple[int, ...] = (80, 96, 3), seed: int = 0) -> np.ndarray:
    """A picture with structure everywhere, so that moved patches can be seen."""
    rng = np.random.default_rng(seed)
    ramp = np.linspace(40, 200, shape[1])[None, :] + rng.normal(0, 12, shape[:2])
    grey = np.clip(ramp, 0, 255).astype(np.uint8)
    return grey if len(shape) == 2 else np.repeat(grey[..., None], 3, axis=2)


@pytest.fixture
def textures(tmp_path: Path) -> Textures:
    rng = np.random.default_rng(5)
    (tmp_path / "below").mkdir()
    for name in ("a.png", "below/b.png"):
        Image.fromarray(rng.integers(0, 256, (40, 700, 3), dtype=np.uint8)).save(tmp_path / name)
    return Textures(tmp_path)


@pytest.mark.parametrize("shape", [(80, 96, 3), (61, 33), (17, 16, 3)])
@pytest.mark.parametrize("kind", ["structural", "texture"])
def test_defect_changes_its_mask_and_little_else(
    shape: tuple[int, ...], kind: Kind, textures: Textures
) -> None:
    picture = part(shape)
    kept = picture.copy()
    settings = SyntheticSettings(kinds=(kind,))
    for seed in range(8):
        defect = add_defect(
            picture, np.random.default_rng(seed), settings=settings, textures=textures
        )
        assert defect.kind == kind
        assert defect.picture.shape == shape
        assert defect.picture.dtype == np.uint8
        assert defect.mask.shape == shape[:2]
        assert defect.mask.dtype == np.bool_
        change = np.abs(defect.picture.astype(int) - picture).reshape(*shape[:2], -1).mean(2)
        assert change[defect.mask].mean() == pytest.approx(defect.change, abs=1e-6)
        assert defect.change >= settings.change
        far = random_far(defect.mask)
        assert change[far].max(initial=0) == 0  # only a soft edge of a few pixels outside
    assert np.array_equal(picture, kept)


def random_far(mask: np.ndarray) -> np.ndarray:
    """Pixels more than 6 rows and columns away from the mask."""
    near = mask.copy()
    for shift in range(-6, 7):
        for axis in (0, 1):
            near |= np.roll(mask, shift, axis)
    for shift in range(-6, 7):
        near |= np.roll(near, shift, 0)
    return ~near


def test_one_seed_one_defect(textures: Textures) -> None:
    settings = SyntheticSettings(kinds=("structural", "texture"))
    made = [
        add_defect(part(), np.random.default_rng(seed), settings=settings, textures=textures)
        for seed in (3, 3, 4)
    ]
    assert np.array_equal(made[0].picture, made[1].picture)
    assert np.array_equal(made[0].mask, made[1].mask)
    assert not np.array_equal(made[0].mask, made[2].mask)


def test_grey_pictures_stay_grey(textures: Textures) -> None:
    defect = add_defect(
        part(), np.random.default_rng(1), settings=SyntheticSettings(kinds=("texture",)),
        textures=textures,
    )  # fmt: skip
    assert np.array_equal(defect.picture[..., 0], defect.picture[..., 1])
    assert np.array_equal(defect.picture[..., 0], defect.picture[..., 2])


@pytest.mark.parametrize("streak", [False, True])
@pytest.mark.parametrize("area", [0.001, 0.01, 0.3])
def test_region_has_its_area(streak: bool, area: float) -> None:
    for seed in range(5):
        region = random_region((90, 120), np.random.default_rng(seed), area=area, streak=streak)
        assert region.sum() == pytest.approx(area * 90 * 120, abs=2)


def test_streaks_are_long(textures: Textures) -> None:
    def spread(streak: bool) -> float:
        extents = []
        for seed in range(20):
            region = random_region(
                (100, 100), np.random.default_rng(seed), area=0.01, streak=streak
            )
            extents.append(max(np.ptp(axis) for axis in np.nonzero(region)))
        return float(np.median(extents))

    assert spread(True) > 1.5 * spread(False)


def test_noise_has_unit_variance() -> None:
    noise = smooth_noise((50, 70), np.random.default_rng(0), cells=4)
    assert noise.shape == (50, 70)
    assert noise.dtype == np.float32
    assert noise.std() == pytest.approx(1.0, abs=1e-3)


def test_textures_are_searched_below_and_reduced(textures: Textures) -> None:
    assert len(textures.paths) == 2
    rng = np.random.default_rng(0)
    assert textures.like(part((30, 20)), rng).shape == (30, 20)
    coloured = part()
    coloured[..., 0] = 255 - coloured[..., 0]
    piece = textures.like(coloured, rng)
    assert piece.shape == coloured.shape
    assert not np.array_equal(piece[..., 0], piece[..., 1])


def test_sentences_on_bad_input(tmp_path: Path, textures: Textures) -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(DataError, match=r"uint8.*got float32 of shape \(80, 96, 3\)"):
        add_defect(part().astype(np.float32), rng)
    with pytest.raises(DataError, match="at least 16 pixels"):
        add_defect(part((15, 40)), rng)
    even, empty = np.full((64, 64), 128, np.uint8), tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(DataError, match="too even"):
        add_defect(even, rng, settings=SyntheticSettings(change=40.0))
    with pytest.raises(SettingError, match="need a folder"):
        add_defect(part(), rng, settings=SyntheticSettings(kinds=("texture",)))
    with pytest.raises(DataError, match="holds no pictures to take textures from"):
        Textures(empty)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"kinds": ()}, "expected kinds"),
        ({"kinds": ("shape",)}, "expected kinds"),
        ({"area": (0.1, 0.01)}, "expected area"),
        ({"area": (0.0, 0.01)}, "expected area"),
        ({"opacity": (0.5, 1.5)}, "expected opacity"),
        ({"streaks": 2.0}, "expected streaks"),
        ({"regions": 0}, "regions of at least 1"),
        ({"grid": (1, 4)}, "grid of at least 2 x 2"),
        ({"change": -1.0}, "expected change"),
    ],
)
def test_settings_say_what_is_wrong(wrong: dict[str, Any], sentence: str) -> None:
    with pytest.raises(SettingError, match=sentence):
        SyntheticSettings(**wrong)
