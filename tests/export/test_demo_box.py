"""The generated sorting box: what its defects change, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from pyad_edge.errors import SettingError
from pyad_edge.export.data import load_dataset
from pyad_edge.export.demo.box import BOX_DEFECTS, make_box, write_box_dataset


def test_the_same_seed_gives_the_same_picture():
    first, mask = make_box(np.random.default_rng(3), size=96)
    again, _ = make_box(np.random.default_rng(3), size=96)
    other, _ = make_box(np.random.default_rng(4), size=96)
    assert first.shape == (96, 96, 3)
    assert first.dtype == np.uint8
    assert (first == again).all()
    assert (first != other).mean() > 0.2
    assert not mask.any()


@pytest.mark.parametrize("defect", BOX_DEFECTS)
def test_defects_are_marked_inside_the_box(defect):
    for seed in range(4):
        image, mask = make_box(np.random.default_rng(seed), size=128, defect=defect)
        assert image.shape == (128, 128, 3)
        assert 0.003 < mask.mean() < 0.1
        assert not mask[:4].any()
        assert not mask[:, -4:].any()


def test_a_missing_part_leaves_a_grey_floor():
    image, mask = make_box(np.random.default_rng(1), size=128, defect="missing")
    spread = image[mask].astype(int).max(1) - image[mask].astype(int).min(1)
    assert spread.max() < 30  # every kind but the screw is coloured
    assert 0.02 < mask.mean() < 0.08  # one compartment of twelve, less its walls


def test_misplaced_parts_lie_in_two_columns():
    _, mask = make_box(np.random.default_rng(2), size=256, defect="misplaced")
    columns = np.unique(np.nonzero(mask)[1] // 61)
    assert len(columns) >= 2


def test_dataset_is_in_the_mvtec_layout(tmp_path):
    root = write_box_dataset(tmp_path / "box", seed=0, train=4, good=2, per_defect=1, size=64)
    found = load_dataset(root)
    assert len(found.train) == 4
    assert sorted(sample.defect for sample in found.test) == sorted(["good", "good", *BOX_DEFECTS])


def test_wrong_arguments_are_named():
    with pytest.raises(SettingError, match="no defect 'rust'; known are missing, extra"):
        make_box(np.random.default_rng(0), defect="rust")
    with pytest.raises(SettingError, match="at least 64 pixels, got 32"):
        make_box(np.random.default_rng(0), size=32)
