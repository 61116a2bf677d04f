"""``pyad-edge export``: what it prints, what it refuses, and that nothing is left half-written."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import call
from pipeline_graphs import draft_of, write

from pyad_edge import Runtime
from pyad_edge.errors import BackendError, ResourceError
from pyad_edge.export.targets import export as module
from pyad_edge.export.targets.built import Built
from pyad_edge.export.targets.forms import EngineForm, Found
from pyad_edge.export.targets.settings import make_settings
from pyad_edge.export.targets.verify import limits_for
from pyad_edge.result import Verdict


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(draft_of("patchcore"), tmp_path_factory.mktemp("engine"))


def test_it_prints_a_table_and_where_everything_lies(engine: Path, tmp_path: Path) -> None:
    out = tmp_path / "part.onnx"
    answer = call("export", engine, "--to", "onnx", "--out", out, "--frame-size", "24,40")
    assert answer.code == 0
    assert "golden frames" in answer.out
    assert "other verdicts" in answer.out
    assert "2 of 2 frames had another size" in answer.err
    assert "part.onnx.report.json" in answer.err
    assert out.stat().st_size > 1000


def test_json_is_the_report(engine: Path, tmp_path: Path) -> None:
    out = tmp_path / "part.onnx"
    answer = call("export", engine, "--to", "onnx", "--out", out, "--batch", "dynamic", "--json")
    printed = json.loads(answer.out)
    assert printed == json.loads((tmp_path / "part.onnx.report.json").read_text())
    assert (printed["batch"], printed["run_by"]["name"]) == (None, "onnxruntime")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            "--to onnx --precision bf16",
            r"onnx has no bf16 here: .* Use fp16 or int8, or --to openvi",
        ),
        ("--to triton --precision bf16", r"triton has no bf16"),
        ("--to tensorrt-rtx --batch dynamic", r"a plan of tensorrt-rtx is for one batch size"),
        ("--to tensorrt --frame-size 64,64", r"leave --frame-size out"),
        ("--to onnx --calibration .", r"--calibration belongs to --precision int8, got fp32"),
        ("--to onnx --no-build", r"--no-build belongs to plans"),
        ("--to onnx --batch many", r"expected --batch as a number or 'dynamic', got 'many'"),
        ("--to onnx --batch 0", r"--batch should be greater than or equal to 1, got 0"),
        ("--to onnx --frame-size 64x64", r"expected --frame-size as H,W in pixels"),
        ("--to onnx --frame-size 64,2", r"--frame-size should be greater than or equal to 8"),
        ("--to onnx --tolerance 2", r"expected --tolerance as a relative difference above 0 and"),
        ("--to triton --name ../part", r"--name \(String should match pattern"),
        ("--to openvino", r"expected --out as a file that ends in .xml, got .*part.onnx"),
    ],
)
def test_what_cannot_be_used_is_refused(
    engine: Path, tmp_path: Path, options: str, words: str
) -> None:
    answer = call("export", engine, "--out", tmp_path / "part.onnx", *options.split())
    assert answer.code == 2
    assert re.search(words, answer.sentence)
    assert list(tmp_path.iterdir()) == []


def test_folders_and_pictures_that_cannot_be_used(engine: Path, tmp_path: Path) -> None:
    out, empty, file = tmp_path / "part.onnx", tmp_path / "empty", tmp_path / "taken"
    empty.mkdir()
    file.mkdir()
    base = ("export", engine, "--to", "onnx")
    answer = call(*base, "--out", out, "--verify", empty)
    assert (answer.code, "no pictures to verify with" in answer.sentence) == (3, True)
    answer = call(*base, "--out", out, "--precision", "int8", "--calibration", empty)
    assert (answer.code, "no pictures to calibrate with" in answer.sentence) == (3, True)
    answer = call(*base, "--out", tmp_path / "nowhere" / "part.onnx")
    assert (answer.code, "does not exist. Make it first" in answer.sentence) == (2, True)
    answer = call("export", engine, "--to", "tensorrt-rtx", "--out", file)
    assert (answer.code, "taken exists. Remove it" in answer.sentence) == (2, True)
    assert not out.exists()


class Wrong:
    """The engine with another second frame.

    Args:
        runtime: of the engine.
        change: of that frame's score; NaN makes it a fault.
        verdict: that it gives.
    """

    def __init__(self, runtime: Runtime, change: float, verdict: Verdict | None = None) -> None:
        self._engine, self._change, self._verdict = EngineForm(runtime), change, verdict
        self._seen = 0
        self.about = {"name": "wrong"}

    def inspect(self, frames: Any) -> Found:
        found = self._engine.inspect(frames)
        self._seen += 1
        if self._seen != 2:
            return found
        verdicts = found.verdicts if self._verdict is None else (self._verdict,)
        return Found(found.scores + self._change, found.maps, verdicts)


@pytest.mark.parametrize(
    ("change", "verdict", "words"),
    [
        (0.5, None, r"a score differs by .* \(golden 1\), tolerance 0\.001"),
        (float("nan"), Verdict.FAULT, r"1 frames have no score, such as golden 1"),
        (0.0, Verdict.FAULT, r"1 verdicts differ \(golden 1\)"),
    ],
)
def test_a_wrong_export_is_no_success(
    engine: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: float,
    verdict: Verdict | None,
    words: str,
) -> None:
    def build(runtime: Runtime, settings: object, *, threads: int | None) -> Built:
        made = Wrong(runtime, change, verdict)
        return Built(files={"": b"wrong"}, folder=False, frame_size=None, open=lambda: made)

    monkeypatch.setattr(module, "build", build)
    out = tmp_path / "part.onnx"
    answer = call("export", engine, "--to", "onnx", "--out", out)
    assert answer.code == BackendError.exit_code
    assert re.search(words, answer.sentence)
    assert not out.exists()
    written = json.loads((tmp_path / "part.onnx.report.json").read_text())
    score = written["golden"]["scores"]["golden 1"][1]
    assert (score is None) == bool(np.isnan(change))


def test_a_folder_is_there_whole_or_not_at_all(
    engine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_file = module._write_file

    def full(path: Path, content: bytes) -> None:
        if path.name == "config.pbtxt":
            raise ResourceError("[write] the disk is full.")
        write_file(path, content)

    monkeypatch.setattr(module, "_write_file", full)
    answer = call("export", engine, "--to", "triton", "--out", tmp_path / "models")
    assert (answer.code, "the disk is full" in answer.sentence) == (6, True)
    assert list((tmp_path / "models").iterdir()) == []


def test_a_repository_that_is_new_holds_the_report_of_what_was_not_written(
    engine: Path, tmp_path: Path
) -> None:
    repository = tmp_path / "models"
    answer = call(
        *("export", engine, "--to", "triton", "--out", repository),
        *("--precision", "int8", "--tolerance", "1e-7"),
    )
    assert (answer.code, "was not written" in answer.sentence) == (5, True)
    assert [path.name for path in repository.iterdir()] == ["part.report.json"]


def test_limits_are_those_of_golden_pictures(engine: Path) -> None:
    made = Runtime(engine).engine
    limits = {name: limits_for(name, made) for name in ("fp32", "fp16", "bf16", "int8")}
    assert [limits[name].tolerance for name in limits] == [1e-3, 0.04, 0.06, 0.26]
    assert [limits[name].flips for name in limits] == [False, True, True, True]
    assert limits_for("fp32", made, 0.1).tolerance == 0.1
    assert not limits_for("fp32", made, 0.1).flips


def test_settings_are_frozen() -> None:
    settings = make_settings(target="onnx")
    with pytest.raises(ValueError, match="frozen"):
        settings.target = "triton"
