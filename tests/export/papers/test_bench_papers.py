"""``pyad-edge bench papers`` from pictures to tables, stopped and gone on with."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from command_line import call
from papers_parts import bench, results, write_mvtec
from PIL import Image
from tiny_models import tiny_backbone

from pyad_edge.export.evaluate import evaluate
from pyad_edge.export.methods.patchcore import make_settings
from pyad_edge.export.papers.published import published
from pyad_edge.export.train import train_patchcore
from pyad_edge.runtime import Runtime

METRICS = ("image_auroc", "pixel_auroc", "aupro", "f1_max")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_mvtec(tmp_path_factory.mktemp("mvtec"))


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("backbone") / "tiny.onnx"
    file.write_bytes(tiny_backbone())
    return file


@pytest.fixture
def plan(data: Path, backbone: Path) -> list[object]:
    given = ["--dataset", "mvtec", "--data", data, "--backbone", backbone, "--size", 48]
    return [*given, "--coreset", "0.1"]


def test_the_table_has_both_columns_and_the_mean_over_seeds(
    plan: list[object], tmp_path: Path
) -> None:
    answer = bench(*plan, "--seeds", "0,1", "--out", tmp_path)
    assert answer.code == 0, answer.err
    rows = results(tmp_path)["rows"]
    assert [(row["seed"], row["category"]) for row in rows] == [
        (0, "bottle"), (0, "cable"), (1, "bottle"), (1, "cable"),
    ]  # fmt: skip
    table = (tmp_path / "table.md").read_text()
    column = published("mvtec", "patchcore", "image_auroc", coreset=0.1)
    assert column is not None
    for category in ("bottle", "cable"):
        own = [100 * row["image_auroc"] for row in rows if row["category"] == category]
        here = f"{np.mean(own):.2f} ± {np.std(own, ddof=1):.2f}"
        assert f"| {category} | {column.figure(category)} | {here} |" in table
    both = f"{np.mean([column.categories[name] for name in ('bottle', 'cable')]):.1f}"
    means = [
        100 * np.mean([row["image_auroc"] for row in rows if row["seed"] == seed])
        for seed in (0, 1)
    ]
    here = f"{np.mean(means):.2f} ± {np.std(means, ddof=1):.2f}"
    assert f"| mean of these 2 | {both} | {here} |" in table
    assert column.source in table
    assert column.setting in table
    assert "48 px, no training, 10 pictures; mean and sample deviation over seeds 0, 1" in table
    assert "bottle" in answer.out
    assert not (tmp_path / "work").exists()


def test_a_row_is_what_train_and_eval_give(
    plan: list[object], data: Path, backbone: Path, tmp_path: Path
) -> None:
    own = ["--categories", "bottle", "--holdout", 0.25, "--seeds", 5]
    assert bench(*plan, *own, "--keep-engines", "--out", tmp_path / "out").code == 0
    (row,) = results(tmp_path / "out")["rows"]
    settings = make_settings(resize=(48, 48), coreset=0.1, holdout=0.25, seed=5)
    engine = tmp_path / "part.pyad"
    train_patchcore(data / "bottle", engine, settings=settings, backbone=str(backbone))
    expected = evaluate(Runtime(engine), data / "bottle")
    assert {name: row[name] for name in METRICS} == {
        name: getattr(expected, name) for name in METRICS
    }
    assert row["by_kind"] == {"spot": expected.rows[1].image_auroc}
    assert (row["pictures"], row["calibration_pictures"]) == (9, 3)
    (kept,) = (tmp_path / "out/engines").iterdir()
    assert Runtime(kept).engine.manifest.training.fingerprint == (
        Runtime(engine).engine.manifest.training.fingerprint
    )


def test_it_goes_on_after_a_kill(plan: list[object], tmp_path: Path) -> None:
    out = tmp_path / "killed"
    several = [*plan, "--seeds", "0,1,2,3,4,5"]
    command = [sys.executable, "-c", "from pyad_edge.export.cli import main; main()"]
    process = subprocess.Popen(
        [*command, "bench", "papers", *map(str, several), "--out", str(out)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        limit = time.monotonic() + 600
        while not list(out.glob("rows/*.json")) and process.poll() is None:
            assert time.monotonic() < limit
            time.sleep(0.002)
        os.kill(process.pid, signal.SIGKILL)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == -signal.SIGKILL
    before = {file: file.stat().st_mtime_ns for file in (out / "rows").glob("*.json")}
    assert 0 < len(before) < 12
    assert not (out / "results.json").exists()
    answer = bench(*several, "--out", out)
    assert answer.code == 0, answer.err
    assert answer.err.count("there already") == len(before)
    assert {file: file.stat().st_mtime_ns for file in before} == before
    whole = tmp_path / "whole"
    assert bench(*several, "--out", whole).code == 0
    figures = [
        [[row[name] for name in ("category", "seed", *METRICS)] for row in results(folder)["rows"]]
        for folder in (out, whole)
    ]
    assert figures[0] == figures[1]
    assert len(figures[0]) == 12
    assert not list(out.rglob("*.pyad*"))


def test_an_engine_that_was_finished_is_not_trained_again(
    plan: list[object], tmp_path: Path
) -> None:
    own = [*plan, "--categories", "cable", "--out", tmp_path]
    assert bench(*own, "--keep-engines").code == 0
    (engine,) = (tmp_path / "engines").iterdir()
    (row,) = (tmp_path / "rows").iterdir()
    first = json.loads(row.read_text())
    # As if the process had been killed between the two.
    (tmp_path / "work").mkdir()
    engine.rename(tmp_path / "work" / engine.name)
    row.unlink()
    assert bench(*own).code == 0
    again = json.loads(row.read_text())
    assert again["train_seconds"] is None
    assert again["image_auroc"] == first["image_auroc"]


def test_other_settings_are_other_rows(plan: list[object], tmp_path: Path) -> None:
    own = [*plan, "--categories", "cable", "--out", tmp_path]
    assert bench(*own).code == 0
    assert "there already" in bench(*own).err
    assert "there already" not in bench(*own, "--holdout", 0.3).err
    assert len(list((tmp_path / "rows").iterdir())) == 2
    assert len(results(tmp_path)["rows"]) == 1


def test_changed_pictures_are_measured_anew(backbone: Path, tmp_path: Path) -> None:
    root = write_mvtec(tmp_path / "data", ("bottle",))
    own = ["--dataset", "mvtec", "--data", root, "--backbone", backbone, "--size", 48]
    own += ["--coreset", 0.1, "--out", tmp_path / "out"]
    assert bench(*own).code == 0
    extra = np.zeros((48, 48, 3), np.uint8)
    Image.fromarray(extra).save(root / "bottle/test/spot/extra.png")
    assert "there already" not in bench(*own).err


def test_studies_draw_their_figures(plan: list[object], tmp_path: Path) -> None:
    own = [*plan, "--categories", "bottle"]
    answer = bench(*own, "--coreset", 0.5, "--shots", "1,2,5", "--out", tmp_path / "few")
    assert answer.code == 0, answer.err
    assert [row["pictures"] for row in results(tmp_path / "few")["rows"]] == [1, 2, 5]
    table = (tmp_path / "few/table.md").read_text()
    assert "MVTec AD: bottle, %" in table
    assert re.search(r"PatchCore-50 %, tiny<br>1 picture, no training", table)
    assert "S5" not in table  # which has no figure of one category
    answer = bench(*own, "--coreset", "0.5,0.1", "--out", tmp_path / "share")
    assert answer.code == 0, answer.err
    for file in (tmp_path / "few/shots.png", tmp_path / "share/coreset.png"):
        with Image.open(file) as picture:
            assert picture.size[0] > 1000
            assert np.ptp(np.asarray(picture.convert("L"))) > 200
    answer = bench(*own, "--shots", "11", "--out", tmp_path / "many")
    assert answer.code == 3
    assert "12 good pictures to train on; --shots 11 needs that many and 2 more" in answer.sentence


@pytest.mark.parametrize(
    ("changed", "code", "sentence"),
    [
        (["--dataset", "imagenet"], 2, "needs --dataset, one of mvtec, loco"),
        (["--methods", "padim"], 2, "--methods as some of patchcore,reconpatch"),
        (["--methods", "fod"], 2, "fod starts from trained weights: give --weights"),
        (["--methods", "recontrast", "--weights", "none.st"], 2, "none.st is no file"),
        (["--coreset", "0,0.1"], 2, "--coreset as numbers above 0 and up to 1"),
        (["--shots", "two"], 2, "--shots as numbers above 0"),
        (["--seeds", "-1"], 2, "--seeds as numbers above -1"),
        (["--steps", "5"], 2, "--steps is of recontrast, fod, grad"),
        (["--categories", "screw"], 2, "no category screw"),
        (["--dataset", "visa"], 3, "expected split_csv/1cls.csv"),
        (["--latency", "--methods", "recontrast"], 2, "no paper prints a latency of recontrast"),
        (["--latency", "--seconds", "0"], 2, "--seconds from 0 to 3,600"),
    ],
)
def test_what_cannot_be_done_is_refused(
    changed: list[str], code: int, sentence: str, plan: list[object], tmp_path: Path
) -> None:
    answer = bench(*plan, *changed, "--out", tmp_path / "out")
    assert answer.code == code
    assert sentence in answer.sentence
    assert not list((tmp_path / "out").rglob("*.pyad"))


def test_two_processes_do_not_share_a_folder(plan: list[object], tmp_path: Path) -> None:
    from pyad_edge.export.papers.rows import locked

    with locked(tmp_path):
        answer = bench(*plan, "--out", tmp_path)
    assert answer.code == 2
    assert "another process works in" in answer.sentence


def test_a_row_that_is_none_is_refused(plan: list[object], tmp_path: Path) -> None:
    own = [*plan, "--categories", "cable", "--out", tmp_path]
    assert bench(*own).code == 0
    (row,) = (tmp_path / "rows").iterdir()
    row.write_text('{"half": ')
    answer = bench(*own)
    assert answer.code == 3
    assert "is no finished measurement" in answer.sentence


def test_bench_still_takes_an_engine(tmp_path: Path) -> None:
    answer = call("bench", tmp_path / "papers.pyad")
    assert answer.code == 4 or "does not exist" in answer.sentence
    assert "papers.pyad" in answer.sentence
    assert "papers' tables" in call("bench", "papers", "--help").out
    assert "how fast and how steady" in call("bench", "--help").out
