"""Bad input: one sentence with the value and the way out, the documented exit code, no debris."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from command_line import Answer, call
from PIL import Image
from tiny_engine import TinyEngine

from pyad_edge import read_image


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """An empty folder where the engine would go."""
    folder = tmp_path / "place"
    folder.mkdir()
    return folder


def train(place: Path, data: Path, backbone: Path, *options: object) -> Answer:
    """A refused training; whatever it was, nothing is left behind."""
    given = ("--data", data, "--out", place / "e.pyad", "--backbone", backbone)
    defaults = ("--size", 64, "--coreset", 0.1)
    answer = call("train", "patchcore", *given, *defaults, *options)
    if answer.code:
        assert list(place.iterdir()) == []
        assert answer.out == ""
    return answer


def pictures(folder: Path, count: int, source: Path) -> Path:
    folder.mkdir()
    for path in sorted((source / "train/good").iterdir())[:count]:
        shutil.copy(path, folder)
    return folder


@pytest.mark.parametrize(
    ("options", "code", "sentence"),
    [
        (("--coreset", 0), 2, "coreset should be greater than 0, got 0.0."),
        (("--coreset", -1), 2, "coreset should be greater than 0, got -1.0."),
        (("--coreset", 1.5), 2, "coreset should be less than or equal to 1, got 1.5."),
        (("--coreset", "nan"), 2, "got nan."),
        (("--coreset", "most"), 2, "'--coreset'"),
        (("--coreset", 0.001), 2, "a coreset of 0.001 of 512 patches has 1 rows"),
        (("--size", 0), 2, "greater than or equal to 32, got 0."),
        (("--size", 16), 2, "greater than or equal to 32, got 16."),
        (("--size", 5000), 2, "less than or equal to 4096, got 5000."),
        (("--size", "9" * 30), 2, "Expected --size as S or HxW, such as 256 or 256x320, got '99"),
        (("--size", "64x"), 2, "Expected --size as S or HxW, such as 256 or 256x320, got '64x'."),
        (("--size=-64",), 2, "got '-64'."),
        (("--shorter-side", 64), 2, "Give either --size or --shorter-side, not both."),
        (("--crop", 128), 2, "the crop (128, 128) is larger than the resized picture (64, 64)."),
        (("--holdout", 0), 2, "got 0. Use --holdout above 0, or --calibration-data DIR"),
        (("--holdout", 1), 2, "holdout should be less than 1, got 1.0."),
        (("--false-reject", 0.7), 2, "--false-reject should be less than or equal to 0.5, got 0.7"),
        (("--seed", -3), 2, "seed should be greater than or equal to 0, got -3."),
        (("--threads", 0), 2, "'--threads'"),
        (("--dim", 0), 2, "got 0"),
        (("--dim", 24, "--aggregation", "average"), 2, "'average' has no dimensions to choose"),
        (("--layers", 7), 5, "has no layer layer7; it offers layer2, layer3."),
        (("--layers", "2,2"), 2, "each once, got '2,2'."),
        (("--backbone", "resnet18"), 5, "'resnet18' is neither an embedded backbone (edge18) nor"),
        (("--backbone", "none.onnx"), 5, "cannot read none.onnx: No such file or directory."),
        (("--memory-limit", "10kB"), 6, "the limit is 10.0 kB"),
        (("--memory-limit", "lots"), 2, "such as 4GB or 500MB, got 'lots'."),
        (("--memory-limit", "9" * 400), 2, "such as 4GB or 500MB, got '99"),
        (("--calibration-data", "nowhere"), 3, "folder nowhere does not exist."),
        (("--data", "nowhere"), 3, "nowhere does not exist."),
        (("--frobnicate", 3), 2, "No such option"),
    ],
)
def test_options_that_cannot_be_used(
    place: Path,
    part_data: Path,
    tiny_onnx: Path,
    options: tuple[object, ...],
    code: int,
    sentence: str,
) -> None:
    answer = train(place, part_data, tiny_onnx, *options)
    assert sentence in answer.sentence
    assert answer.code == code


def test_a_memory_limit_is_refused_with_its_numbers(
    place: Path, part_data: Path, tiny_onnx: Path
) -> None:
    answer = train(place, part_data, tiny_onnx, "--memory-limit", "100 kB")
    assert answer.code == 6
    numbers = re.search(
        r"512 patches need ([\d.]+) kB of memory \(([\d.]+) kB for the selection, "
        r"([\d.]+) kB for a bank of 51 rows\), the limit is 100\.0 kB\. Use fewer pictures",
        answer.sentence,
    )
    assert numbers is not None, answer.sentence
    needed, selection, bank = map(float, numbers.groups())
    assert needed == pytest.approx(selection + bank, abs=0.2)
    enough = train(place, part_data, tiny_onnx, "--memory-limit", f"{needed + 1} kB")
    assert enough.code == 0
    assert "the backbone ran twice" in enough.err


def test_missing_options_are_named(part_data: Path, tiny: TinyEngine) -> None:
    for command in (("train", "patchcore", "--data", part_data), ("eval", tiny.path), ("run",)):
        answer = call(*command)
        assert answer.code == 2
        assert "Missing" in answer.sentence


@pytest.mark.parametrize("out", ["missing/e.pyad", "folder", "file/e.pyad"])
def test_a_target_that_cannot_be_written_is_refused_before_fitting(
    place: Path, part_data: Path, tiny_onnx: Path, out: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (place / "folder").mkdir()
    (place / "file").touch()
    monkeypatch.setattr("pyad_edge.export.train.fit", lambda *_, **__: pytest.fail("it fitted"))
    given = ("--data", part_data, "--out", place / out, "--backbone", tiny_onnx)
    answer = call("train", "patchcore", *given)
    assert answer.code == 2
    assert str(place / out) in answer.sentence
    assert sorted(p.name for p in place.rglob("*")) == ["file", "folder"]


@pytest.mark.parametrize("count", [0, 1, 3])
def test_too_few_pictures(
    place: Path, part_data: Path, tiny_onnx: Path, tmp_path: Path, count: int
) -> None:
    answer = train(place, pictures(tmp_path / "few", count, part_data), tiny_onnx)
    assert answer.code == 3
    expected = "is empty. Put good pictures into it." if count == 0 else f"holds {count} picture"
    assert expected in answer.sentence


def test_modes_and_sizes_that_mean_the_same_are_accepted(
    place: Path, part_data: Path, tiny_onnx: Path, tmp_path: Path
) -> None:
    data = pictures(tmp_path / "mixed", 5, part_data)
    picture = Image.open(data / "000.png")
    picture.convert("P", palette=Image.Palette.ADAPTIVE).save(data / "palette.png")
    picture.convert("L").resize((70, 50)).save(data / "mono.png")
    picture.convert("RGBA").save(data / "opaque.png")
    picture.convert("1").save(data / "bits.tif")
    picture.rotate(5).crop((0, 0, 40, 80)).save(data / "tall.jpg")
    answer = train(place, data, tiny_onnx)
    assert answer.code == 0, answer.err
    assert "3 different sizes" in answer.err


def test_bad_pictures_are_all_named_before_the_fit(
    place: Path, part_data: Path, tiny_onnx: Path, tmp_path: Path
) -> None:
    data = pictures(tmp_path / "bad", 6, part_data)
    good = read_image(data / "000.png")
    (data / "cut.png").write_bytes((data / "000.png").read_bytes()[:900])
    (data / "zero.png").touch()
    (data / "text.jpg").write_text("no picture")
    Image.fromarray(good[..., 0].astype(np.uint16) * 256).save(data / "deep.png")
    see_through = Image.fromarray(good).convert("RGBA")
    see_through.putalpha(77)
    see_through.save(data / "alpha.png")
    answer = train(place, data, tiny_onnx)
    assert answer.code == 3
    assert "5 of 11 pictures cannot be used" in answer.sentence
    for reason in ("cut.png is truncated", "zero.png is empty (0 bytes)", "text.jpg is not a",
                   "deep.png has pixel mode I;16", "smallest alpha 77"):  # fmt: skip
        assert reason in answer.sentence


def test_pictures_too_small_to_inspect_are_refused(
    place: Path, part_data: Path, tiny_onnx: Path, tmp_path: Path
) -> None:
    data = pictures(tmp_path / "small", 5, part_data)
    Image.new("RGB", (64, 5)).save(data / "strip.png")
    answer = train(place, data, tiny_onnx)
    assert answer.code == 3
    assert "1 of the pictures have 64 x 5 pixels, expected sides of 8 to 16384" in answer.sentence


def test_calibrating_on_fitted_pictures_is_refused(
    place: Path, part_data: Path, tiny_onnx: Path
) -> None:
    same = part_data / "train/good"
    answer = train(place, part_data, tiny_onnx, "--calibration-data", same)
    assert answer.code == 3
    assert "10 pictures of --calibration-data" in answer.sentence
