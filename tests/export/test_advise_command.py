"""``pyad-edge advise`` on generated pictures, from the folder to the command that it names."""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
from command_line import call
from tiny_engine import TinyEngine

from pyad_edge import Runtime
from pyad_edge.export.advise import candidates

SIZES = ("--size", 128, "--size", 160)


@pytest.fixture(autouse=True)
def without_reconpatch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its training is tested elsewhere; here it would take most of the time."""
    monkeypatch.setattr(candidates, "has_package", lambda name: False)


@pytest.fixture(scope="module")
def report(tiny: TinyEngine) -> dict[str, Any]:
    given = ("--data", tiny.data, "--backbone", tiny.backbone, *SIZES, "--latency", "10s")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(candidates, "has_package", lambda name: False)
        answer = call("advise", *given, "--false-reject", 0.2, "--json", "--threads", 1)
    assert answer.code == 0, answer.err
    found: dict[str, Any] = json.loads(answer.out)
    return found


def test_candidates_and_their_figures(report: dict[str, Any]) -> None:
    names = [row["name"] for row in report["candidates"]]
    assert names == [
        "PatchCore tiny 128px 1%",
        "PatchCore tiny 160px 1%",
        "PatchCore tiny 128px 5%",
    ]
    assert report["pictures"] == {"fitted": 8, "held_out": 2, "defects": 4}
    for row in report["candidates"]:
        auroc = row["image_auroc"]
        assert 0 <= auroc["low"] <= auroc["value"] <= auroc["high"] <= 1
        assert auroc["value"] * 16 == round(auroc["value"] * 16)  # 2 x 4 pairs, ties a half
        assert 0 < row["latency_ms"]["p50"] <= row["latency_ms"]["p99"]
        assert row["latency_ms"]["count"] == 200
        assert row["within_latency"]
        assert row["engine_mb"] > 0
    assert report["recommendation"]["candidate"] in names
    assert any("Only 2 good pictures" in r for r in report["recommendation"]["reasons"])


def test_the_command_it_names_makes_that_engine(
    report: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    program, *arguments = shlex.split(report["recommendation"]["command"])
    assert program == "pyad-edge"
    answer = call(*arguments)
    assert answer.code == 0, answer.err
    made = Runtime("part.pyad")
    size = int(arguments[arguments.index("--size") + 1])
    manifest = made.engine.manifest
    assert f"PatchCore tiny {size}px" in report["recommendation"]["candidate"]
    assert manifest.preprocessing.resize == (size, size)
    assert manifest.threshold.false_reject == 0.2
    # All good pictures, not only those that the advice fitted on.
    assert manifest.training.pictures + manifest.training.calibration_pictures == 10


def test_it_says_the_same_twice_but_for_the_times(tiny: TinyEngine, report: dict[str, Any]) -> None:
    given = ("--data", tiny.data, "--backbone", tiny.backbone, *SIZES, "--latency", "10s")
    again = json.loads(call("advise", *given, "--false-reject", 0.2, "--json", "--threads", 1).out)
    for key in ("image_auroc", "pixel_auroc", "aupro", "false_rejects", "command"):
        assert [row[key] for row in again["candidates"]] == [
            row[key] for row in report["candidates"]
        ]


def test_test_pictures_are_never_read_and_the_folder_stays_as_it_is(
    tiny: TinyEngine, tmp_path: Path
) -> None:
    data = tmp_path / "part"
    shutil.copytree(tiny.data / "train", data / "train")
    shutil.copy(next((data / "train/good").iterdir()), data / "train/good/copy.png")
    (data / "test/scratch").mkdir(parents=True)
    (data / "test/scratch/000.png").write_bytes(b"no picture")
    before = sorted((data / "train/good").iterdir())
    options = ("--backbone", tiny.backbone, "--size", 128, "--latency", "1ms", "--threads", 1)
    answer = call("advise", "--data", data, *options)
    assert answer.code == 0, answer.err
    assert sorted((data / "train/good").iterdir()) == before
    assert "1 byte copies were left out" in answer.err
    assert "Synthetic defects are not your defects" in answer.out
    assert all(len(line) <= 80 for line in answer.out.splitlines()[1:4])


def test_time_that_is_spent_ends_the_trials(tiny: TinyEngine) -> None:
    options = ("--backbone", tiny.backbone, *SIZES, "--latency", "10s", "--time", "1ms", "--json")
    answer = call("advise", "--data", tiny.data, *options)
    assert answer.code == 0, answer.err
    found = json.loads(answer.out)
    assert len(found["candidates"]) == 1
    spent = [one for one in found["skipped"] if "(--time)" in one["reason"]]
    assert len(spent) == 2


def test_a_candidate_that_fails_is_named_and_the_others_go_on(
    tiny: TinyEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = candidates.train_patchcore

    def fails_at_160(*args: Any, **kwargs: Any) -> Any:
        if kwargs["settings"].resize == (160, 160):
            from pyad_edge.errors import ResourceError

            raise ResourceError("[train] no room for 160 pixels. Buy memory.")
        return real(*args, **kwargs)

    monkeypatch.setattr(candidates, "train_patchcore", fails_at_160)
    options = ("--backbone", tiny.backbone, *SIZES, "--latency", "10s")
    answer = call("advise", "--data", tiny.data, *options)
    assert answer.code == 0, answer.err
    assert "Not judged: PatchCore tiny 160px 1%: [train] no room for 160 pixels." in answer.out

    alone = call("advise", "--data", tiny.data, *options[:2], "--size", 160, "--latency", "1s")
    assert alone.code == 6
    assert "no room for 160 pixels" in alone.sentence
