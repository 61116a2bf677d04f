"""Data sets on disk: layouts, splits, fingerprints, masks, and every way to get them wrong."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
from shared_data import mtd

from pyad_edge.errors import DataError, SettingError
from pyad_edge.export.data import (
    check_images,
    fingerprint,
    load_dataset,
    read_mask,
    split_holdout,
)


def picture(path: Path, value: int = 90, size: tuple[int, int] = (6, 8)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((*size, 3), value, np.uint8))
    return path


@pytest.fixture
def mvtec(tmp_path: Path) -> Path:
    for i in range(5):
        picture(tmp_path / "train/good" / f"{i:03}.png")
    for name in ("good/000", "good/001", "hole/000", "hole/001", "hole/002"):
        picture(tmp_path / f"test/{name}.png")
    picture(tmp_path / "ground_truth/hole/000_mask.png", 255)
    picture(tmp_path / "ground_truth/hole/001.png", 255)
    return tmp_path


def test_mvtec_layout(mvtec: Path) -> None:
    data = load_dataset(mvtec, require_test=True)
    assert data.layout == "mvtec"
    assert [p.name for p in data.train] == [f"{i:03}.png" for i in range(5)]
    assert [(s.defect, s.path.name, s.is_anomalous) for s in data.test] == [
        ("good", "000.png", False),
        ("good", "001.png", False),
        ("hole", "000.png", True),
        ("hole", "001.png", True),
        ("hole", "002.png", True),
    ]
    masks = [s.mask and s.mask.name for s in data.test]
    assert masks == [None, None, "000_mask.png", "001.png", None]
    (note,) = data.notes
    assert "test/hole: 1 of 3 pictures have no mask (first: 002.png)" in note


def test_mvtec_notes_what_it_leaves_out(mvtec: Path) -> None:
    picture(mvtec / "train/bad/000.png")
    picture(mvtec / "test/loose.png")
    notes = " ".join(load_dataset(mvtec).notes)
    assert "train/ also holds bad" in notes
    assert "test/ holds 1 pictures outside" in notes


def test_plain_folder(tmp_path: Path) -> None:
    for i in range(4):
        picture(tmp_path / f"{i}.png")
    picture(tmp_path / "rejected/0.png")
    data = load_dataset(tmp_path)
    assert (data.layout, len(data.train), data.test) == ("folder", 4, ())
    assert "not searched: rejected (1)" in data.notes[0]


def test_real_data() -> None:
    data = load_dataset(mtd(), require_test=True)
    assert len(data.train) == 629
    assert Counter(s.defect for s in data.test) == {
        "good": 154, "blowhole": 58, "break": 43, "crack": 29, "fray": 18, "uneven": 52,
    }  # fmt: skip
    assert all((s.mask is None) == (s.defect == "good") for s in data.test)
    assert data.notes == ()
    masks = [read_mask(s.mask, resize=(64, 64)) for s in data.test if s.mask]
    uneven = [s.defect for s in data.test if s.mask]
    empty = [defect for defect, mask in zip(uneven, masks, strict=True) if not mask.any()]
    assert empty.count("uneven") >= 2


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([], "is empty. Put good pictures into it"),
        (["a.txt", "b.gif", "c.gif"], r"no pictures, only 2 \.gif, 1 \.txt\. Readable are \.bmp"),
        (["a.png"], "holds 1 picture.* at least 4 are needed: 2 to fit and 2 to calibrate"),
        (["good/a.png", "bad/b.png"], r"sub-folders do: bad \(1\), good \(1\)\. Name the one"),
        (["test/good/a.png"], "MVTec layout but no train/good"),
        (["train/a.png"], "no train/good"),
        (["train/good/a.txt"], r"good holds no pictures, only 1 \.txt"),
    ],
)
def test_folders_that_cannot_be_fitted(tmp_path: Path, files: list[str], message: str) -> None:
    for name in files:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    with pytest.raises(DataError, match=message):
        load_dataset(tmp_path)


def test_missing_folder_and_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        load_dataset(tmp_path / "none")
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="is a file, expected a folder"):
        load_dataset(tmp_path / "file")


def test_evaluation_needs_test_pictures_only(tmp_path: Path) -> None:
    picture(tmp_path / "test/good/a.png")
    assert len(load_dataset(tmp_path, require_train=False, require_test=True).test) == 1
    picture(tmp_path / "plain/a.png")
    with pytest.raises(DataError, match=r"holds no test pictures.*test/<defect>"):
        load_dataset(tmp_path / "plain", require_train=False, require_test=True)


def test_split_is_a_seeded_partition() -> None:
    paths = [Path(f"/one/{i:03}.png") for i in range(50)]
    fit, held = split_holdout(paths, fraction=0.2, seed=0)
    assert (len(fit), len(held)) == (40, 10)
    assert sorted(fit + held) == paths
    assert list(fit) == sorted(fit)
    assert list(held) == sorted(held)
    assert split_holdout(paths, fraction=0.2, seed=1)[1] != held
    # Neither the folder nor the order decides which pictures are held out.
    elsewhere = [Path("/two") / p.name for p in reversed(paths)]
    assert {p.name for p in split_holdout(elsewhere, fraction=0.2, seed=0)[1]} == {
        p.name for p in held
    }


def test_split_is_the_same_on_every_machine() -> None:
    paths = [Path(f"{i:03}.png") for i in range(10)]
    assert [p.stem for p in split_holdout(paths, fraction=0.3, seed=7)[1]] == ["001", "003", "006"]


@pytest.mark.parametrize(
    ("count", "fraction", "held"),
    [(4, 0.01, 2), (4, 0.9, 2), (10, 0.99, 8), (5, 0.0, 0), (1, 0.0, 0), (40, 0.1, 4)],
)
def test_split_counts(count: int, fraction: float, held: int) -> None:
    paths = [Path(f"{i}.png") for i in range(count)]
    fit, calibration = split_holdout(paths, fraction=fraction, seed=0)
    assert (len(fit), len(calibration)) == (count - held, held)


def test_split_refusals() -> None:
    paths = [Path(f"{i}.png") for i in range(3)]
    with pytest.raises(DataError, match=r"3 good picture.*at least 2 to fit and 2 to calibrate"):
        split_holdout(paths, fraction=0.2, seed=0)
    for fraction in (-0.1, 1.0, float("nan")):
        with pytest.raises(SettingError, match=r"fraction in \[0, 1\)"):
            split_holdout(paths, fraction=fraction, seed=0)


def test_fingerprint_knows_names_and_contents(tmp_path: Path) -> None:
    a, b = tmp_path / "a.png", tmp_path / "b.png"
    a.write_bytes(b"first")
    b.write_bytes(b"second" * 400_000)  # longer than one read
    print_ = fingerprint([a, b])
    assert len(print_) == 64
    assert fingerprint([b, a]) == print_
    a.rename(tmp_path / "c.png")
    assert fingerprint([tmp_path / "c.png", b]) != print_
    (tmp_path / "c.png").rename(a)
    assert fingerprint([a, b]) == print_
    a.write_bytes(b"firsT")
    assert fingerprint([a, b]) != print_
    with pytest.raises(DataError, match=r"none\.png cannot be read"):
        fingerprint([tmp_path / "none.png"])


def test_check_images_names_all_bad_ones_at_once(tmp_path: Path) -> None:
    paths = [picture(tmp_path / f"{i:02}.png") for i in range(4)]
    assert check_images(paths) == {(6, 8): 4}
    assert check_images([*paths, picture(tmp_path / "x.png", size=(4, 4))])[4, 4] == 1
    for path in paths[:2]:
        path.write_bytes(b"")
    paths[2].write_bytes(paths[3].read_bytes()[:40])
    with pytest.raises(DataError) as caught:
        check_images(paths)
    message = str(caught.value)
    assert "3 of 4 pictures cannot be used" in message
    assert all(f"{i:02}.png" in message for i in range(3))
    assert "03.png" not in message


def test_check_images_caps_its_list(tmp_path: Path) -> None:
    paths = [tmp_path / f"{i:02}.png" for i in range(14)]
    for path in paths:
        path.touch()
    with pytest.raises(DataError, match=r"and 4 more\.$") as caught:
        check_images(paths)
    assert str(caught.value).count("0 bytes") == 10


def mask_file(path: Path, plane: np.ndarray) -> Path:
    cv2.imwrite(str(path), plane)
    return path


def test_mask_at_its_own_size_is_itself(tmp_path: Path) -> None:
    plane = (np.random.default_rng(0).random((20, 30)) > 0.5).astype(np.uint8) * 255
    mask = read_mask(mask_file(tmp_path / "m.png", plane), resize=(20, 30))
    assert mask.dtype == np.bool_
    np.testing.assert_array_equal(mask, plane == 255)


def test_mask_is_area_weighted_when_reduced(tmp_path: Path) -> None:
    plane = np.zeros((64, 64), np.uint8)
    plane[16:48, 16:48] = 255
    plane[2, 60] = 255  # a speck of one pixel is less than half of a pixel eight times as large
    mask = read_mask(mask_file(tmp_path / "m.png", plane), resize=(8, 8))
    expected = np.zeros((8, 8), bool)
    expected[2:6, 2:6] = True
    np.testing.assert_array_equal(mask, expected)


def test_mask_takes_the_pictures_way(tmp_path: Path) -> None:
    plane = np.zeros((40, 80), np.uint8)
    plane[:, 40:] = 255
    mask = read_mask(mask_file(tmp_path / "m.png", plane), resize=20, crop=(16, 16))
    assert mask.shape == (16, 16)
    assert not mask[:, :8].any()
    assert mask[:, 8:].all()


def test_mask_refusals(tmp_path: Path) -> None:
    path = mask_file(tmp_path / "m.png", np.eye(6, dtype=np.uint8))
    with pytest.raises(DataError, match="largest value of 1, expected 0 for normal and 255"):
        read_mask(path, resize=(6, 6))
    path = mask_file(tmp_path / "m.png", np.eye(6, dtype=np.uint8) * 255)
    with pytest.raises(DataError, match="is 6x6, its picture 9x8 pixels"):
        read_mask(path, resize=(6, 6), picture_size=(8, 9))
