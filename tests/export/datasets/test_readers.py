"""Every reader on a small copy of its layout, made here; and on folders that are not that."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pyad_edge.errors import DataError, SettingError
from pyad_edge.export.data import load_dataset, read_truth
from pyad_edge.export.datasets import DATASETS, Category, read_dataset, write_view

RNG = np.random.default_rng(0)
SIZE = (20, 24)  # H, W


def pictures(folder: Path, names: Sequence[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        pixels = RNG.integers(40, 255, (*SIZE, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / name)


def mask(file: Path, value: int, *, rows: slice = slice(2, 6)) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    plane = np.zeros(SIZE, np.uint8)
    plane[rows, 3:9] = value
    Image.fromarray(plane).save(file)


def names(count: int, suffix: str = ".png", start: int = 0) -> list[str]:
    return [f"{number:03}{suffix}" for number in range(start, start + count)]


def mvtec_like(root: Path, categories: Sequence[str], kind: str, value: int) -> None:
    for category in categories:
        pictures(root / category / "train/good", names(4))
        pictures(root / category / "test/good", names(2))
        pictures(root / category / "test" / kind, names(2))
        for number in range(2):
            mask(root / category / "ground_truth" / kind / f"{number:03}_mask.png", value)


def mvtec(root: Path) -> None:
    mvtec_like(root, ["bottle", "cable"], "broken", 255)


def loco(root: Path) -> None:
    pictures(root / "pushpins/train/good", names(4))
    pictures(root / "pushpins/validation/good", names(2))
    for kind in ("good", "logical_anomalies", "structural_anomalies"):
        pictures(root / "pushpins/test" / kind, names(2))
    truth = root / "pushpins/ground_truth"
    # Values name the kind of a defect there; two files of one picture are two defects.
    mask(truth / "logical_anomalies/000/000.png", 254)
    mask(truth / "logical_anomalies/000/001.png", 7, rows=slice(10, 12))
    mask(truth / "logical_anomalies/001/000.png", 255)
    for number in range(2):
        mask(truth / f"structural_anomalies/{number:03}/000.png", 240)


def visa(root: Path) -> None:
    lines = ["object,split,label,image,mask"]
    for category in ("candle", "pcb1"):
        normal, bad = "Data/Images/Normal", "Data/Images/Anomaly"
        pictures(root / category / normal, names(6, ".JPG"))
        pictures(root / category / bad, names(2, ".JPG"))
        for number in range(6):
            split = "train" if number < 4 else "test"
            lines.append(f"{category},{split},normal,{category}/{normal}/{number:03}.JPG,")
        for number in range(2):
            truth = f"{category}/Data/Masks/Anomaly/{number:03}.png"
            mask(root / truth, 1 + number)
            lines.append(f"{category},test,anomaly,{category}/{bad}/{number:03}.JPG,{truth}")
    (root / "split_csv").mkdir()
    (root / "split_csv/1cls.csv").write_text("\n".join(lines) + "\n")


def visa_reorganised(root: Path) -> None:
    mvtec_like(root / "visa_pytorch/1cls", ["candle", "pcb1"], "bad", 255)


def btad(root: Path) -> None:
    for category, suffix in (("01", ".bmp"), ("02", ".png")):
        pictures(root / category / "train/ok", names(4, suffix))
        pictures(root / category / "test/ok", names(2, suffix))
        pictures(root / category / "test/ko", names(2, suffix, start=2))
        for number in (2, 3):
            mask(root / category / f"ground_truth/ko/{number:03}.png", 255)


def mtd(root: Path) -> None:
    pictures(root / "MT_Free/Imgs", [f"free_{name}" for name in names(10, ".jpg")])
    pictures(root / "MT_Crack/Imgs", names(2, ".jpg"))
    pictures(root / "MT_Blowhole/Imgs", names(3, ".jpg"))
    for kind, count in (("Crack", 2), ("Blowhole", 3)):
        for number in range(count):
            mask(root / f"MT_{kind}/Imgs/{number:03}.png", 255)


def mvtec3d(root: Path) -> None:
    for kind in ("train/good", "validation/good", "test/good", "test/hole"):
        pictures(root / "cable_gland" / kind / "rgb", names(4 if "train" in kind else 2))
    for number in range(2):
        mask(root / f"cable_gland/test/hole/gt/{number:03}.png", 255)
        mask(root / f"cable_gland/test/good/gt/{number:03}.png", 0)


def isic(root: Path) -> None:
    kinds = ("MEL", "NV", "BCC", "AKIEC", "BKL", "DF", "VASC")
    for part, marked in (("Training", ["NV"] * 4 + ["MEL"]), ("Validation", ["NV", "NV", "DF"])):
        stem = f"ISIC2018_Task3_{part}"
        ids = [f"ISIC_{part}_{number}" for number in range(len(marked))]
        pictures(root / f"{stem}_Input", [f"{name}.jpg" for name in ids])
        lines = [",".join(("image", *kinds))]
        for name, own in zip(ids, marked, strict=True):
            lines.append(",".join((name, *("1.0" if kind == own else "0.0" for kind in kinds))))
        folder = root / f"{stem}_GroundTruth"
        folder.mkdir()
        (folder / f"{stem}_GroundTruth.csv").write_text("\n".join(lines) + "\n")


def aptos(root: Path) -> None:
    pictures(root / "train_images", [f"n{number}.png" for number in range(6)] + ["a0.png"])
    lines = ["id_code,diagnosis", *(f"n{number},0" for number in range(6)), "a0,3"]
    (root / "train.csv").write_text("\n".join(lines) + "\n")


def oct(root: Path) -> None:
    for kind in ("NORMAL", "CNV"):
        pictures(root / "train" / kind, names(4, ".jpeg"))
        pictures(root / "test" / kind, names(2, ".jpeg"))


# Layout: data set, maker, categories, training pictures of each, test pictures by kind.
LAYOUTS: dict[str, tuple[str, Callable[[Path], None], list[str], int, dict[str, int]]] = {
    "mvtec": ("mvtec", mvtec, ["bottle", "cable"], 4, {"good": 2, "broken": 2}),
    "loco": (
        "loco",
        loco,
        ["pushpins"],
        4,
        {"good": 2, "logical_anomalies": 2, "structural_anomalies": 2},
    ),
    "visa": ("visa", visa, ["candle", "pcb1"], 4, {"good": 2, "bad": 2}),
    "visa-1cls": ("visa", visa_reorganised, ["candle", "pcb1"], 4, {"good": 2, "bad": 2}),
    "btad": ("btad", btad, ["01", "02"], 4, {"good": 2, "ko": 2}),
    "mtd": ("mtd", mtd, ["mtd"], 8, {"good": 2, "blowhole": 3, "crack": 2}),
    "mvtec3d-rgb": ("mvtec3d-rgb", mvtec3d, ["cable_gland"], 4, {"good": 2, "hole": 2}),
    "isic": ("isic", isic, ["isic"], 4, {"good": 2, "DF": 1}),
    "aptos": ("aptos", aptos, ["aptos"], 4, {"good": 2, "grade_3": 1}),
    "oct": ("oct", oct, ["oct"], 4, {"good": 2, "CNV": 2}),
}


@pytest.fixture(autouse=True)
def few_of_aptos(monkeypatch: pytest.MonkeyPatch) -> None:
    """The real data set trains on 1,000 pictures."""
    monkeypatch.setattr("pyad_edge.export.datasets.aptos.TRAINED", 4)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_layout_is_read_and_seen_by_training_and_evaluation(layout: str, tmp_path: Path) -> None:
    dataset, make, categories, train, test = LAYOUTS[layout]
    root = tmp_path / "data"
    root.mkdir()
    make(root)
    found = read_dataset(dataset, root)
    assert [category.name for category in found] == categories
    for category in found:
        assert len(category.train) == train
        assert Counter(picture.kind for picture in category.test) == test
        assert not {p.path for p in category.test} & set(category.train)
        seen = load_dataset(write_view(category, tmp_path / "view"), require_test=True)
        assert sorted(path.resolve().name for path in seen.train) == sorted(
            f"{path.stem}.png" if category.crop_dark else path.name for path in category.train
        )
        assert Counter(sample.defect for sample in seen.test) == test
        for sample in seen.test:
            wanted = sample.is_anomalous and DATASETS[dataset].masks
            assert (sample.mask is not None) == wanted
            if sample.mask is not None:
                truth = read_truth(sample.mask, SIZE)
                assert set(np.unique(truth)) == {0, 255}
                assert truth[2:6, 3:9].all()


def test_every_data_set_has_a_layout_here() -> None:
    assert {dataset for dataset, *_ in LAYOUTS.values()} == set(DATASETS)


def test_masks_of_one_picture_become_their_union(tmp_path: Path) -> None:
    loco(tmp_path)
    (category,) = read_dataset("loco", tmp_path)
    seen = load_dataset(write_view(category, tmp_path / "view"), require_train=True)
    first = next(s for s in seen.test if s.defect == "logical_anomalies" and s.path.stem == "000")
    assert first.mask is not None
    expected = np.zeros(SIZE, np.uint8)
    expected[2:6, 3:9] = expected[10:12, 3:9] = 255
    np.testing.assert_array_equal(read_truth(first.mask, SIZE), expected)


@pytest.mark.parametrize("dataset", DATASETS)
def test_a_foreign_folder_is_refused_with_what_was_found_and_expected(
    dataset: str, tmp_path: Path
) -> None:
    pictures(tmp_path / "holiday", names(2))
    with pytest.raises(DataError, match=r"expected .* found holiday/; .* is missing.*--data"):
        read_dataset(dataset, tmp_path)
    with pytest.raises(DataError, match=r"nowhere is no folder"):
        read_dataset(dataset, tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("layout", "broken", "message"),
    [
        ("loco", "pushpins/test/structural_anomalies", r"structural_anomalies is missing"),
        ("btad", "02/test/ko", r"02/test/ko is missing"),
        ("mvtec3d-rgb", "cable_gland/test/good", r"test/good/rgb is missing"),
        ("visa", "pcb1/Data/Images/Anomaly/001.JPG", r"1cls.csv names pcb1/.*001.JPG"),
        ("isic", "ISIC2018_Task3_Validation_Input/ISIC_Validation_2.jpg", r"names ISIC_Valida"),
        ("aptos", "train_images/n3.png", r"train.csv names n3.png"),
        ("oct", "test/NORMAL", r"test/NORMAL is missing"),
        ("mvtec", "cable/test", r"cable holds no test pictures"),
    ],
)
def test_what_is_missing_is_named(layout: str, broken: str, message: str, tmp_path: Path) -> None:
    dataset, make, *_ = LAYOUTS[layout]
    make(tmp_path)
    (tmp_path / broken).rename(tmp_path / ".elsewhere")
    with pytest.raises(DataError, match=message):
        read_dataset(dataset, tmp_path)


def test_tables_that_are_none_are_refused(tmp_path: Path) -> None:
    visa(tmp_path)
    table = tmp_path / "split_csv/1cls.csv"
    rows = table.read_text()
    table.write_text(rows.replace("object,", "thing,"))
    with pytest.raises(DataError, match=r"columns thing, split.* expected object, split"):
        read_dataset("visa", tmp_path)
    table.write_text(rows.replace("candle,train,normal", "candle,train,anomaly"))
    with pytest.raises(DataError, match=r"trains on candle.* not normal"):
        read_dataset("visa", tmp_path)
    table.write_text("\n".join(row for row in rows.splitlines() if "pcb1,test" not in row))
    with pytest.raises(DataError, match=r"none to test on of pcb1"):
        read_dataset("visa", tmp_path)


def test_categories_are_chosen_by_name(tmp_path: Path) -> None:
    mvtec(tmp_path)
    assert [c.name for c in read_dataset("mvtec", tmp_path, categories=["cable"])] == ["cable"]
    with pytest.raises(SettingError, match=r"no category screw in .*; there are bottle, cable"):
        read_dataset("mvtec", tmp_path, categories=["cable", "screw"])
    with pytest.raises(SettingError, match=r"Expected a data set out of mvtec, .* got 'cifar'"):
        read_dataset("cifar", tmp_path)


def test_one_category_may_be_named_itself(tmp_path: Path) -> None:
    mvtec(tmp_path)
    assert [c.name for c in read_dataset("mvtec", tmp_path / "bottle")] == ["bottle"]


@pytest.mark.parametrize(("layout", "train"), [("mtd", 8), ("aptos", 4)])
def test_undivided_sets_are_divided_by_the_seed(layout: str, train: int, tmp_path: Path) -> None:
    dataset, make, *_ = LAYOUTS[layout]
    make(tmp_path)

    def trained(seed: int) -> set[str]:
        (category,) = read_dataset(dataset, tmp_path, seed=seed)
        good = {picture.path for picture in category.test if picture.kind == "good"}
        assert not good & set(category.train)
        assert len(category.train) == train
        return {path.name for path in category.train}

    assert trained(1) == trained(1)
    assert len({frozenset(trained(seed)) for seed in range(6)}) > 1


def test_mtd_comes_divided_as_well(tmp_path: Path) -> None:
    mvtec_like(tmp_path, ["tiles"], "crack", 255)
    (category,) = read_dataset("mtd", tmp_path / "tiles")
    assert category.name == "mtd"
    assert Counter(picture.kind for picture in category.test) == {"good": 2, "crack": 2}


def test_two_pictures_of_one_name_are_refused(tmp_path: Path) -> None:
    pictures(tmp_path / "a", ["000.png"])
    pictures(tmp_path / "b", ["000.png"])
    twice = Category("x", (tmp_path / "a/000.png", tmp_path / "b/000.png"), ())
    with pytest.raises(DataError, match=r"two pictures of train/good are called 000.png"):
        write_view(twice, tmp_path / "view")
