"""The augmentation study: geometry of masks, ranges, seeds, rows, sentences."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from command_line import call
from PIL import Image
from tiny_engine import TinyEngine

from pyad_edge import DataError, Runtime, SettingError
from pyad_edge.export.augment_study import render_study, study_augmentations
from pyad_edge.export.augmentations import AUGMENTATIONS, augment
from pyad_edge.export.evaluate import evaluate


def marked(shape: tuple[int, int] = (120, 150)) -> tuple[np.ndarray, np.ndarray]:
    """A grey picture with a bright rectangle off its middle, and the rectangle as the mask."""
    mask = np.zeros(shape, bool)
    mask[70:90, 20:60] = True
    frame = np.where(mask, 230, 60).astype(np.uint8)
    return np.repeat(frame[..., None], 3, axis=2), mask


@pytest.mark.parametrize("name", ["rotation", "translation", "all"])
def test_masks_move_with_their_pictures(name: str) -> None:
    frame, mask = marked()
    moved_at_all = 0
    for seed in range(10):
        picture, truth = augment(name, frame, mask, np.random.default_rng(seed))
        level = (float(picture.max()) + float(picture.min())) / 2
        # What is bright must be what is marked, but for pixels on the border of the two.
        assert np.mean((picture[..., 0] > level) != truth) < 0.003
        moved_at_all += not np.array_equal(truth, mask)
    assert moved_at_all >= 7


def test_rotation_and_shift_keep_to_their_ranges() -> None:
    frame, mask = marked()
    for seed in range(20):
        _, truth = augment("translation", frame, mask, np.random.default_rng(seed))
        rows, columns = (axis.mean() for axis in np.nonzero(truth))
        assert abs(rows - 79.5) <= 1.2 + 0.5  # 1 % of 120 rows
        assert abs(columns - 39.5) <= 1.5 + 0.5
    turns = []
    for seed in range(20):
        _, truth = augment("rotation", frame, mask, np.random.default_rng(seed))
        rows, columns = (axis.mean() for axis in np.nonzero(truth))
        was = np.arctan2(79.5 - 59.5, 39.5 - 74.5)
        now = np.arctan2(rows - 59.5, columns - 74.5)
        turns.append(np.degrees((now - was + np.pi) % (2 * np.pi) - np.pi))
    assert 3.0 < np.abs(turns).max() < 5.3
    assert min(turns) < 0 < max(turns)


def test_light_keeps_to_its_ranges_and_leaves_masks() -> None:
    frame, mask = marked()
    for seed in range(10):
        rng = np.random.default_rng(seed)
        bright, truth = augment("brightness", frame, mask, rng)
        gain = bright[0, 0, 0] / 60
        assert 0.69 <= gain <= 1.31
        assert bright.max() == min(255, round(230 * gain)) or abs(bright.max() - 230 * gain) < 3
        assert truth is mask
        contrast, _ = augment("contrast", frame, mask, rng)
        middle = frame.mean()
        assert 0.68 <= (contrast[0, 0, 0] - middle) / (60 - middle) <= 1.32
        blurred, _ = augment("blur", frame, mask, rng)
        assert np.abs(blurred.mean() - frame.mean()) < 1


def test_frames_of_other_kinds() -> None:
    rng = np.random.default_rng(0)
    mask = np.zeros((40, 50), bool)
    for dtype, shape, pixel_format in [
        (np.uint8, (40, 50), None),
        (np.uint8, (40, 50, 1), "Mono8"),
        (np.uint16, (40, 50), "Mono12"),
        (np.float32, (40, 50), "Mono32f"),
        (np.uint8, (40, 50, 4), "BGRa8"),
    ]:
        high = 4095 if dtype == np.uint16 else 255
        frame = rng.integers(0, high + 1, shape).astype(dtype)
        for name in AUGMENTATIONS:
            changed, _ = augment(name, frame, mask, rng, pixel_format=pixel_format)
            assert changed.shape == shape
            assert changed.dtype == dtype
            assert dtype == np.float32 or changed.max() <= high
    relit, _ = augment("brightness", frame, mask, rng, pixel_format="BGRa8")
    assert np.array_equal(relit[..., 3], frame[..., 3])


def test_mosaics_are_refused() -> None:
    with pytest.raises(DataError, match=r"BayerRG8 cannot be turned.*RGB8"):
        augment(
            "blur", np.zeros((9, 9), np.uint8), np.zeros((9, 9), bool), np.random.default_rng(0),
            pixel_format="BayerRG8",
        )  # fmt: skip


def test_none_is_the_plain_evaluation_and_seeds_repeat(tiny: TinyEngine) -> None:
    runtime = Runtime(tiny.path)
    study = study_augmentations(runtime, tiny.data, names=("none", "rotation"), seed=4)
    plain = evaluate(runtime, tiny.data)
    none, rotation = study.rows
    assert none.image_auroc == plain.image_auroc
    assert none.pixel_auroc == plain.pixel_auroc
    assert none.aupro == plain.aupro
    good = next(row for row in plain.rows if row.name == "good")
    assert (none.false_rejects, study.good) == (good.called_anomalous, good.pictures)
    # Alone or with others, the same changes; another seed, others.
    assert study_augmentations(runtime, tiny.data, names=("rotation",), seed=4).rows == (rotation,)
    assert study_augmentations(runtime, tiny.data, names=("rotation",), seed=5).rows != (rotation,)
    with pytest.raises(SettingError, match="expected augmentations of none, rotation"):
        study_augmentations(runtime, tiny.data, names=("zoom",))


def test_missing_masks_leave_gaps_not_zeros(tiny: TinyEngine, tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(tiny.data / "test", data / "test")
    study = study_augmentations(Runtime(tiny.path), data, names=("blur",))
    assert study.rows[0].pixel_auroc is None
    assert study.rows[0].aupro is None
    assert study.rows[0].image_auroc is not None
    assert any("no mask" in note for note in study.notes)
    assert render_study(study).renderables


def test_command(tiny: TinyEngine, tmp_path: Path) -> None:
    answer = call(
        "eval", tiny.path, "--data", tiny.data, "--augment", "--json", "--save", tmp_path / "o"
    )
    assert answer.code == 0, answer.err
    report = json.loads(answer.out)
    assert [row["augmentation"] for row in report["rows"]] == list(AUGMENTATIONS)
    with Image.open(tmp_path / "o" / "augmentations.png") as sheet:
        assert sheet.size == (6 * 192, len(AUGMENTATIONS) * (192 + 22))
    people = call("eval", tiny.path, "--data", tiny.data, "--augment", "--seed", 1)
    assert people.code == 0
    assert "rotation ±5°" in people.out
    assert "all together" in people.out
