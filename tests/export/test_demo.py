"""The demo's generated part: reproducible, varied, and marked where it is defective."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from pyad_edge.errors import DataError, SettingError
from pyad_edge.export.data import load_dataset, read_mask
from pyad_edge.export.demo.part import DEFECTS, make_part, write_dataset
from pyad_edge.images import read_image


@pytest.mark.parametrize("defect", [None, *DEFECTS])
def test_shapes_types_and_seed(defect: str | None) -> None:
    image, mask = make_part(np.random.default_rng(3), defect=defect)
    assert (image.shape, image.dtype) == ((256, 256, 3), np.uint8)
    assert (mask.shape, mask.dtype) == ((256, 256), np.bool_)
    again, same_mask = make_part(np.random.default_rng(3), defect=defect)
    np.testing.assert_array_equal(image, again)
    np.testing.assert_array_equal(mask, same_mask)
    other, _ = make_part(np.random.default_rng(4), defect=defect)
    assert np.mean(image != other) > 0.5


@pytest.mark.parametrize("defect", DEFECTS)
def test_every_defect_is_marked_and_visible(defect: str) -> None:
    """Inside the mask the picture leaves the range of good parts, whatever the seed."""
    good = np.stack(
        [make_part(np.random.default_rng((9, i)))[0].astype(np.float32) for i in range(12)]
    )
    middle, spread = np.median(good, axis=0), good.std(axis=0).mean()
    for seed in range(12):
        image, mask = make_part(np.random.default_rng((seed, 1)), defect=defect)
        share = mask.mean()
        assert 0.0003 < share < 0.06, (seed, share)
        assert not mask[:8].any()
        assert not mask[:, :8].any()
        difference = np.abs(image - middle).mean(axis=2)
        assert difference[mask].max() > 2 * spread, seed


def test_good_parts_have_no_mask_and_vary_in_pose_and_light() -> None:
    pictures = []
    for seed in range(8):
        image, mask = make_part(np.random.default_rng(seed))
        assert not mask.any()
        pictures.append(image.astype(np.float32))
    stack = np.stack(pictures)
    assert stack.mean(axis=(1, 2, 3)).std() > 1.0
    assert 20 < stack.mean() < 160
    assert (stack == 255).mean() < 0.01  # no blown-out highlights


@pytest.mark.parametrize("size", [64, 97, 400])
def test_other_sizes(size: int) -> None:
    for defect in (None, *DEFECTS):
        image, mask = make_part(np.random.default_rng(1), size=size, defect=defect)
        assert image.shape == (size, size, 3)
        assert mask.any() == (defect is not None)


def test_refusals() -> None:
    with pytest.raises(SettingError, match=r"no defect 'rust'; known are burr, .*missing_hole"):
        make_part(np.random.default_rng(0), defect="rust")
    with pytest.raises(SettingError, match="at least 64 pixels, got 32"):
        make_part(np.random.default_rng(0), size=32)


def test_dataset_is_read_back(tmp_path: Path) -> None:
    root = write_dataset(tmp_path / "part", seed=5, train=5, good=2, per_defect=1, size=64)
    data = load_dataset(root, require_test=True)
    assert (data.layout, len(data.train), data.notes) == ("mvtec", 5, ())
    assert sorted({s.defect for s in data.test}) == sorted(["good", *DEFECTS])
    for sample in data.test:
        assert read_image(sample.path).shape == (64, 64, 3)
        if sample.mask is not None:
            assert read_mask(sample.mask, resize=(64, 64), picture_size=(64, 64)).any()


def digest(folder: Path) -> dict[str, str]:
    return {
        p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in folder.rglob("*.png")
    }


def test_dataset_depends_on_its_seed_only(tmp_path: Path) -> None:
    settings = {"good": 1, "per_defect": 1, "size": 64}
    first = digest(write_dataset(tmp_path / "a", seed=5, train=4, **settings))
    second = digest(write_dataset(tmp_path / "b", seed=5, train=6, **settings))
    other = digest(write_dataset(tmp_path / "c", seed=6, train=4, **settings))
    assert len(set(first.values())) == len(first)
    assert first.items() < second.items()
    assert not set(first.values()) & set(other.values())


def test_dataset_does_not_mix_into_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "mine.png").touch()
    with pytest.raises(DataError, match="is not an empty folder"):
        write_dataset(tmp_path, seed=0, train=1)
