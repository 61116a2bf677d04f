"""The tutorial as it stands, command after command; generated parts stand in for the camera."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path

import pytest
from command_line import Answer, call

from pyad_edge.export.demo import write_dataset

TUTORIAL = Path(__file__).resolve().parents[1] / "docs/tutorial.md"
CAMERA = "camera:0"
GOOD = 30


def steps(text: str) -> list[tuple[str, str]]:
    """(language, code) of every block; a shell block is one step a command."""
    found: list[tuple[str, str]] = []
    for language, code in re.findall(r"^```(\w*)\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        lines = code.splitlines() if language == "sh" else [code]
        found += [(language, line) for line in lines]
    return found


@pytest.mark.slow
def test_from_the_camera_to_the_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    data = write_dataset(tmp_path / "made", seed=5, train=GOOD, good=3, per_defect=1, size=128)
    shutil.copytree(data / "train/good", "line")  # what the camera sees
    shutil.copytree(data / "test", "check/test")  # what step 4 asks the reader to sort
    defects = sorted(path for path in (data / "test").glob("*/*.png") if path.parent.name != "good")
    namespace: dict[str, object] = {"__name__": "tutorial"}
    answers: dict[str, list[Answer]] = {}
    printed = ""
    for language, step in steps(TUTORIAL.read_text()):
        code = step.replace(CAMERA, "line")
        if language == "python":
            exec(compile(code, "tutorial.md", "exec"), namespace)
            printed += capsys.readouterr().out
        else:
            assert language == "sh", f"a block of {language!r} is not run"
            program, *arguments = shlex.split(code)
            assert program == "pyad-edge", f"{code} is not run"
            answer = call(*arguments)
            assert answer.code == 0, f"{code}\n{answer.err}"
            answers.setdefault(arguments[0], []).append(answer)
        if takes_pictures(step):
            assert len(list(Path("parts").iterdir())) == GOOD
            for number, path in enumerate(defects):  # now the line goes on, with defects
                shutil.copy(path, f"line/{number:03d}-defect.png")
            namespace.clear()
            namespace["__name__"] = "tutorial"

    assert "reject " in printed
    train, *_ = answers["train"]
    assert "guarantee that on average" in train.err
    assert "Recommended: " in answers["advise"][0].out
    assert "guarantee that on average" in answers["info"][0].out
    assert "scratch" in answers["eval"][0].out
    assert {path.name for path in Path("overlays").iterdir()} >= {"good", "scratch"}
    plain, banded, sunk = (
        [json.loads(line) for line in answer.out.splitlines()] for answer in answers["run"]
    )
    assert len(plain) == len(banded) == len(sunk) == GOOD + len(defects)
    assert {record["verdict"] for record in plain} == {"OK", "NG"}
    assert all(record["review_threshold"] < record["threshold"] for record in banded)
    assert len(Path("verdicts.jsonl").read_text().splitlines()) == len(sunk)
    assert len(Path("verdicts.csv").read_text().splitlines()) == len(sunk) + 1
    assert any(Path("seen").rglob("*.png"))
    assert "camera, 10 fps" in answers["bench"][0].out


def takes_pictures(step: str) -> bool:
    """Whether this block takes the pictures to learn from."""
    return "save_picture(" in step
