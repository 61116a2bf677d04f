"""Training refuses what would make its statements untrue: copies, and scores without spread."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from PIL import Image
from tiny_engine import TinyEngine

from pyad_edge import DataError, Runtime
from pyad_edge.export.methods.patchcore import make_settings
from pyad_edge.export.train import TrainReport, train_patchcore


def good(tiny: TinyEngine) -> list[Path]:
    return sorted((tiny.data / "train/good").iterdir())


def copies(folder: Path, pictures: list[Path]) -> Path:
    """These pictures under other names, the same one several times if it is listed so."""
    folder.mkdir()
    for number, path in enumerate(pictures):
        shutil.copyfile(path, folder / f"copy{number:02}.png")
    return folder


def train(
    tiny: TinyEngine, data: Path, out: Path, *, others: Path | None = None, **settings: object
) -> TrainReport:
    chosen = {"resize": (64, 64), "coreset": 0.1, "holdout": 0.3 if others is None else 0.0}
    return train_patchcore(
        data,
        out,
        settings=make_settings(**(chosen | settings)),
        backbone=str(tiny.backbone),
        calibration_data=others,
    )


def test_byte_copies_of_fitted_pictures_do_not_calibrate(tiny: TinyEngine, tmp_path: Path) -> None:
    others = copies(tmp_path / "others", good(tiny)[:4])
    message = r"4 pictures of --calibration-data .*copy00\.png, copy01\.png, copy02\.png, \.\.\.\)"
    with pytest.raises(DataError, match=message + r".*Name a folder of other good pictures"):
        train(tiny, tiny.data, tmp_path / "e.pyad", others=others)
    for path in sorted(others.iterdir())[:3]:
        path.unlink()
    shutil.copy(tiny.data / "test/good/000.png", others)
    with pytest.raises(DataError, match=r"1 pictures .*\(copy03\.png\)"):
        train(tiny, tiny.data, tmp_path / "e.pyad", others=others)
    assert not (tmp_path / "e.pyad").exists()


@pytest.mark.parametrize("seed", range(4))
def test_copies_count_once_and_are_told(tiny: TinyEngine, tmp_path: Path, seed: int) -> None:
    data = copies(tmp_path / "data", [*good(tiny), *good(tiny)[:6], good(tiny)[0]])
    report = train(tiny, data, tmp_path / "e.pyad", seed=seed)
    assert (report.pictures, report.calibration_pictures) == (7, 3)
    assert [n for n in report.notes if "7 of 17 pictures are byte copies" in n] == [*report.notes]
    assert Runtime(tmp_path / "e.pyad").threshold.normal_pictures == 3


def test_copies_among_calibration_data_count_once(tiny: TinyEngine, tmp_path: Path) -> None:
    new = sorted((tiny.data / "test/good").iterdir())
    others = copies(tmp_path / "others", [*new, *new])
    report = train(tiny, tiny.data, tmp_path / "e.pyad", others=others)
    assert (report.pictures, report.calibration_pictures) == (10, 3)
    assert "3 of 16 pictures are byte copies" in " ".join(report.notes)
    one = copies(tmp_path / "one", [new[0]] * 5)
    with pytest.raises(DataError, match=r"5 pictures .* only 1 different"):
        train(tiny, tiny.data, tmp_path / "f.pyad", others=one)


def test_without_copies_there_is_no_note(tiny: TinyEngine, tmp_path: Path) -> None:
    assert train(tiny, tiny.data, tmp_path / "e.pyad").notes == ()


def test_a_dozen_copies_are_no_dozen_pictures(tiny: TinyEngine, tmp_path: Path) -> None:
    data = copies(tmp_path / "data", [good(tiny)[0]] * 12)
    with pytest.raises(DataError, match=r"12 good pictures hold only 1 different.*at least 4"):
        train(tiny, data, tmp_path / "e.pyad")


@pytest.mark.parametrize("scoring", ["reweighted", "maximum"])
@pytest.mark.parametrize("coreset", [0.1, 1.0])
def test_scores_without_spread_are_no_calibration(
    tiny: TinyEngine, tmp_path: Path, scoring: str, coreset: float
) -> None:
    """The same picture, saved in twelve ways: the files differ, the pixels do not."""
    data = tmp_path / "data"
    data.mkdir()
    with Image.open(good(tiny)[0]) as picture:
        for level in range(10):
            picture.save(data / f"{level}.png", compress_level=level)
        picture.save(data / "10.bmp")
        picture.save(data / "11.tif")
    with pytest.raises(DataError, match=r"pictures score between .* no threshold can rest on them"):
        train(tiny, data, tmp_path / "e.pyad", scoring=scoring, coreset=coreset)
    assert not (tmp_path / "e.pyad").exists()


def test_other_files_of_fitted_pixels_are_no_calibration(tiny: TinyEngine, tmp_path: Path) -> None:
    """All scores are zero where the whole bank is kept."""
    others = tmp_path / "others"
    others.mkdir()
    for path in good(tiny)[:3]:
        with Image.open(path) as picture:
            picture.save(others / f"{path.stem}.bmp")
    with pytest.raises(DataError, match="no threshold can rest on them"):
        train(tiny, tiny.data, tmp_path / "e.pyad", others=others, coreset=1.0)
