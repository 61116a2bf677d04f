"""Validation on held-out good pictures: the split, the figures, the masks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pyad_edge.engine_manifest import Preprocessing
from pyad_edge.errors import DataError, SettingError
from pyad_edge.export.synthetic import SyntheticSettings
from pyad_edge.export.validation import mask_at_map, split_validation, validate

PREPROCESSING = Preprocessing(
    resize=(48, 48), crop=None, mean=(0.5,) * 3, std=(0.5,) * 3, color_order="rgb"
)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Ten parts, each taken four times with other light; names order them as a camera would."""
    folder = tmp_path_factory.mktemp("good")
    rng = np.random.default_rng(0)
    paths = []
    for tile in range(10):
        surface = rng.uniform(40, 160, (64, 64))
        for light in range(4):
            path = folder / f"light{light}_num_{1000 + 100 * tile + light}.png"
            grey = np.clip(surface * (0.8 + 0.1 * light), 0, 255).astype(np.uint8)
            Image.fromarray(grey).save(path)
            paths.append(path)
    return sorted(paths)


def tile_of(path: Path) -> int:
    return (int(path.stem.split("_")[-1]) - 1000) // 100


@pytest.mark.parametrize("seed", range(4))
def test_split_keeps_copies_together(pictures: list[Path], seed: int) -> None:
    fit, held = split_validation(pictures, fraction=0.25, seed=seed)
    assert sorted((*fit, *held)) == pictures
    assert list(held) == sorted(held)
    assert 6 <= len(held) <= 14
    shared = {tile_of(path) for path in fit} & {tile_of(path) for path in held}
    # 20 runs of 2: a cut may halve a part, but no run mixes two.
    assert all(sum(tile_of(path) == tile for path in held) == 2 for tile in shared)


def test_split_follows_its_seed(pictures: list[Path]) -> None:
    assert split_validation(pictures, seed=1) == split_validation(pictures, seed=1)
    assert split_validation(pictures, seed=1) != split_validation(pictures, seed=2)


def test_split_refuses(pictures: list[Path]) -> None:
    with pytest.raises(SettingError, match=r"fraction in \(0, 1\), got 1.0"):
        split_validation(pictures, fraction=1.0)
    with pytest.raises(DataError, match="3 good pictures cannot be split"):
        split_validation(pictures[:3])


def test_perfect_and_blind_scores(pictures: list[Path]) -> None:
    originals = {}
    for path in pictures[:6]:
        grey = np.asarray(Image.open(path).resize((48, 48), Image.Resampling.BILINEAR), float)
        originals[path] = grey

    def perfect(frame: np.ndarray) -> tuple[float, np.ndarray]:
        seen = np.asarray(Image.fromarray(frame[..., 0]).resize((48, 48), 2), float)
        change = min(
            (np.abs(seen - grey) for grey in originals.values()), key=lambda delta: delta.sum()
        )
        return float(change.sum()), change

    def blind(frame: np.ndarray) -> tuple[float, np.ndarray]:
        return 0.0, np.zeros((48, 48), np.float32)

    found = validate(perfect, pictures[:6], preprocessing=PREPROCESSING, per_picture=2)
    assert found.image_auroc == 1.0
    assert found.pixel_auroc > 0.95
    assert found.aupro > 0.9
    assert (found.pictures, found.defects) == (6, 12)
    none = validate(blind, pictures[:6], preprocessing=PREPROCESSING)
    assert none.image_auroc == 0.5
    assert none.pixel_auroc == 0.5
    assert none.to_dict()["pictures"] == 6


def test_defects_do_not_depend_on_the_score(pictures: list[Path]) -> None:
    seen: list[list[bytes]] = []
    for _ in range(2):
        frames: list[bytes] = []

        def note(frame: np.ndarray, frames: list[bytes] = frames) -> tuple[float, np.ndarray]:
            frames.append(frame.tobytes())
            return float(frame.mean()), np.zeros((48, 48), np.float32)

        validate(note, pictures[:4], preprocessing=PREPROCESSING, seed=3)
        seen.append(frames)
    assert seen[0] == seen[1]
    assert len(set(seen[0])) == 8


def test_mask_takes_the_picture_path() -> None:
    mask = np.zeros((64, 128), bool)
    mask[:, 64:] = True
    whole = mask_at_map(mask, PREPROCESSING)
    assert whole.shape == (48, 48)
    assert not whole[:, :23].any()
    assert whole[:, 25:].all()
    cropped = PREPROCESSING.model_copy(update={"resize": (64, 128), "crop": (32, 32)})
    assert mask_at_map(mask, cropped)[:, 16:].all()
    assert not mask_at_map(mask, cropped)[:, :16].any()


def test_refusals(pictures: list[Path]) -> None:
    with pytest.raises(SettingError, match="per_picture of at least 1, got 0"):
        validate(lambda frame: (0.0, frame), pictures, preprocessing=PREPROCESSING, per_picture=0)
    with pytest.raises(SettingError, match="need a folder"):
        validate(
            lambda frame: (0.0, np.zeros((48, 48))),
            pictures,
            preprocessing=PREPROCESSING,
            settings=SyntheticSettings(kinds=("texture",)),
        )
