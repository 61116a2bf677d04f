"""Options of the workshop's commands: those that exclude each other, defaults, and their names."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_line import Answer, call
from tiny_engine import TinyEngine
from tiny_models import tiny_backbone

from pyad_edge import Runtime

MEAN, STD = "0.485,0.456,0.406", "0.229,0.224,0.225"


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """The tiny backbone without a word about itself."""
    path = tmp_path / "foreign.onnx"
    path.write_bytes(tiny_backbone(metadata=False))
    return path


def train(tmp_path: Path, data: Path, backbone: Path, *options: object) -> Answer:
    given = ("--data", data, "--out", tmp_path / "e.pyad", "--backbone", backbone)
    answer = call("train", "patchcore", *given, "--coreset", 0.1, *options)
    assert (tmp_path / "e.pyad").exists() == (answer.code == 0), answer.err
    return answer


@pytest.mark.parametrize("holdout", [0.5, 0.2, 0])
def test_two_sources_of_calibration_exclude_each_other(
    tiny: TinyEngine, tmp_path: Path, holdout: float
) -> None:
    both = ("--holdout", holdout, "--calibration-data", tiny.data / "test/good")
    answer = train(tmp_path, tiny.data, tiny.backbone, "--size", 64, *both)
    assert answer.code == 2
    assert "Give either --holdout or --calibration-data, not both" in answer.sentence


@pytest.mark.parametrize(
    ("options", "counts"), [((), (8, 2)), (("--holdout", 0.5), (5, 5)), (("new",), (10, 3))]
)
def test_what_is_held_out(
    tiny: TinyEngine, tmp_path: Path, options: tuple[object, ...], counts: tuple[int, int]
) -> None:
    if options == ("new",):
        options = ("--calibration-data", tiny.data / "test/good")
    assert train(tmp_path, tiny.data, tiny.backbone, "--size", 64, *options).code == 0
    made = Runtime(tmp_path / "e.pyad").engine.manifest.training
    assert (made.pictures, made.calibration_pictures) == counts


@pytest.mark.parametrize(
    ("options", "phrase"),
    [
        (("--coreset", "nan"), "--coreset is not a number, got nan."),
        (("--holdout", "nan"), "--holdout is not a number, got nan."),
        (("--false-reject", "nan"), "--false-reject is not a number, got nan."),
        (("--coreset", "inf"), "--coreset should be less than or equal to 1, got inf."),
        (("--size", 0), "--size should be greater than or equal to 32, got 0."),
        (("--size", "64x0"), "--size should be greater than or equal to 32, got 0."),
        (("--shorter-side", 9), "--shorter-side should be greater than or equal to 32, got 9."),
        (("--crop", 8), "--crop should be greater than or equal to 32, got 8."),
        (("--shorter-side", 64), "resizing the shorter side needs a crop"),
        (("--dim", 0), "--dim should be greater than or equal to 1, got 0."),
        (("--dim", 8, "--aggregation", "average"), "no dimensions to choose; leave them out."),
    ],
)
def test_faults_are_named_as_they_were_typed(
    tiny: TinyEngine, tmp_path: Path, options: tuple[object, ...], phrase: str
) -> None:
    answer = train(tmp_path, tiny.data, tiny.backbone, *options)
    assert answer.code == 2
    assert phrase in answer.sentence
    assert answer.sentence.count("got") <= 1


def test_a_file_that_says_nothing_about_itself(
    tiny: TinyEngine, tmp_path: Path, foreign: Path
) -> None:
    options = ("--size", 64, "--seed", 5)
    silent = train(tmp_path, tiny.data, foreign, *options)
    assert silent.code == 5
    assert "mean and std must be given" in silent.sentence
    assert "--mean A,B,C --std A,B,C" in silent.sentence
    assert "std must be given" in train(tmp_path, tiny.data, foreign, "--mean", MEAN).sentence

    assert train(tmp_path, tiny.data, foreign, *options, "--mean", MEAN, "--std", STD).code == 0
    found = Runtime(tmp_path / "e.pyad")
    assert found.engine.manifest.preprocessing.mean == (0.485, 0.456, 0.406)
    assert found.engine.manifest.preprocessing.std == (0.229, 0.224, 0.225)
    assert found.engine.manifest.backbone.weights_sha256 is None
    assert "not recorded" in call("info", tmp_path / "e.pyad").out
    # The same network with metadata makes the same engine, but for what is known about it.
    scores = found.engine.tensors["calibration/scores"].tobytes()
    assert train(tmp_path, tiny.data, tiny.backbone, *options).code == 0
    stated = Runtime(tmp_path / "e.pyad").engine
    assert stated.tensors["calibration/scores"].tobytes() == scores
    assert stated.manifest.backbone.weights_sha256 is not None


def test_a_file_that_states_its_preprocessing_is_not_overruled(
    tiny: TinyEngine, tmp_path: Path
) -> None:
    answer = train(tmp_path, tiny.data, tiny.backbone, "--std", STD)
    assert answer.code == 2
    assert "states its own pre-processing, so std cannot be given" in answer.sentence


@pytest.mark.parametrize("text", ["", "1,2", "1,2,3,4", "a,b,c", "nan,0,0", "1,inf,0", "0.5"])
def test_three_numbers_are_three_numbers(
    tiny: TinyEngine, tmp_path: Path, foreign: Path, text: str
) -> None:
    answer = train(tmp_path, tiny.data, foreign, f"--mean={text}", "--std", STD)
    assert answer.code == 2
    assert "Expected --mean as three numbers, such as 0.485,0.456,0.406, got '" in answer.sentence


def test_a_standard_deviation_of_zero_is_refused(
    tiny: TinyEngine, tmp_path: Path, foreign: Path
) -> None:
    answer = train(tmp_path, tiny.data, foreign, "--mean", MEAN, "--std", "1,0,1")
    assert answer.code == 2
    assert "std of" in answer.sentence


def test_eval_takes_a_threshold_like_run(tiny: TinyEngine) -> None:
    eval_ = ("eval", tiny.path, "--data", tiny.data, "--json")
    for threshold, everything in ((0.0, True), (1e9, False)):
        report = json.loads(call(*eval_, "--threshold", threshold).out)
        assert "set by hand" in report["threshold_statement"]
        for row in report["rows"]:
            assert row["called_anomalous"] == (row["pictures"] if everything else 0)
    both = call(*eval_, "--threshold", 1, "--false-reject", 0.1)
    assert both.code == 2
    assert "Give either --false-reject or --threshold, not both." in both.sentence
    assert "finite" in call(*eval_, "--threshold", "nan").sentence
