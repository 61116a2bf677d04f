"""The commands, from pictures to verdicts: results on stdout, all else on stderr."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from command_line import call
from PIL import Image
from tiny_engine import TinyEngine

import pyad_edge
from pyad_edge import Runtime, read_image

RECORD = {
    "camera",
    "frame",
    "frame_id",
    "name",
    "timestamp",
    "latency_ms",
    "queue_ms",
    "dropped",
    "triggers",
    "verdict",
    "score",
    "threshold",
    "review_threshold",
    "map_threshold",
    "p_value",
    "is_anomalous",
    "peak",
    "regions",
    "nearest",
    "timings_ms",
}


def lines(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


def test_train_writes_an_engine_that_every_command_reads(
    part_data: Path, tiny_onnx: Path, tmp_path: Path
) -> None:
    engine = tmp_path / "new.pyad"
    options = ("--backbone", tiny_onnx, "--layers", "2,3", "--size", "64x96", "--coreset", "0.1")
    trained = call("train", "patchcore", "--data", part_data, "--out", engine, *options)
    assert (trained.code, trained.out) == (0, "")
    assert "76 bank rows from 8 pictures" in trained.err
    assert "2 normal pictures held out of the fit" in trained.err
    assert [path.name for path in tmp_path.iterdir()] == ["new.pyad"]

    info = json.loads(call("info", engine, "--json").out)
    assert info["network"] == {"input_size": [64, 96], "grid": [8, 12]}
    assert info["bank"] == {"rows": 76, "dimensions": 24}
    assert info["training"]["coreset_ratio"] == 0.1

    again = tmp_path / "again.pyad"
    call("train", "patchcore", "--data", part_data, "--out", again, *options)
    assert again.read_bytes() == engine.read_bytes(), "the same seed gives the same file"
    other = call("train", "patchcore", "--data", part_data, "--out", again, *options, "--seed", 1)
    assert other.code == 0
    assert again.read_bytes() != engine.read_bytes()


def test_train_with_the_built_in_backbone_and_pictures_of_another_folder(
    part_data: Path, tmp_path: Path
) -> None:
    engine = tmp_path / "e.pyad"
    data, others = part_data / "train/good", part_data / "test/good"
    options = ("--calibration-data", others, "--shorter-side", 72, "--crop", 64, "--threads", 1)
    options = (*options, "--scoring", "maximum", "--aggregation", "average", "--coreset", 0.05)
    assert call("train", "patchcore", "--data", data, "--out", engine, *options).code == 0
    manifest = Runtime(engine).engine.manifest
    assert manifest.backbone.name == "edge18"
    assert (manifest.training.pictures, manifest.training.calibration_pictures) == (10, 3)
    assert (manifest.preprocessing.resize, manifest.preprocessing.crop) == (72, (64, 64))


def test_info_for_people_says_what_matters(tiny: TinyEngine) -> None:
    answer = call("info", tiny.path)
    assert (answer.code, answer.err) == (0, "")
    text = " ".join(answer.out.split())
    for fact in ("patchcore", "tiny: layer2, layer3", "64 x 64 px", "8 x 8 patches", "7 pictures"):
        assert fact in text
    assert "3 normal pictures held out" in text
    digest = json.loads(call("info", tiny.path, "--json").out)["file_sha256"]
    assert digest in "".join(answer.out.split())


def test_eval_gives_figures_rows_and_overlays(tiny: TinyEngine, tmp_path: Path) -> None:
    answer = call("eval", tiny.path, "--data", tiny.data, "--json", "--save", tmp_path / "o")
    assert answer.code == 0
    report = json.loads(answer.out)
    for figure in ("image_auroc", "pixel_auroc", "aupro", "f1_max"):
        assert 0 <= report[figure] <= 1
    found = {f"{Path(p).parent.name}/{Path(p).name}": score for p, score in tiny.scores.items()}
    assert report["scores"] == found
    assert sum(row["pictures"] for row in report["rows"]) == len(found)
    assert report["ms_median"] > 0
    overlays = sorted(p.relative_to(tmp_path / "o") for p in (tmp_path / "o").rglob("*.png"))
    assert [str(path) for path in overlays] == sorted(f"{name}.png" for name in found)
    people = call("eval", tiny.path, "--data", tiny.data, "--false-reject", 0.5)
    assert f"{report['image_auroc']:.4f}" in people.out
    assert "AUPRO" in people.out
    assert "within the target of 50 %" in " ".join(people.out.split())


def test_run_prints_one_json_line_a_frame_and_nothing_else(tiny: TinyEngine) -> None:
    answer = call("run", tiny.path, "--source", tiny.data / "test/good")
    records = lines(answer.out)
    assert (answer.code, len(records)) == (0, 3)
    assert all(set(record) == RECORD for record in records)
    assert [record["score"] for record in records] == [
        tiny.scores[str(record["name"])] for record in records
    ]
    assert "3 normal pictures" in answer.err
    assert "3 frames: " in answer.err


def test_run_has_a_fault_for_every_frame_it_cannot_judge(tiny: TinyEngine, tmp_path: Path) -> None:
    good = read_image(next(iter(tiny.scores)))
    Image.fromarray(good).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes()[:500])
    (tmp_path / "c.png").touch()
    Image.fromarray(good[:7]).save(tmp_path / "d.png")
    Image.fromarray(np.zeros((50, 50), np.uint16)).save(tmp_path / "e.png")
    Image.fromarray(good).save(tmp_path / "f.png")
    answer = call("run", tiny.path, "--source", tmp_path, "--save", tmp_path / "overlays")
    records = lines(answer.out)
    assert answer.code == 7
    verdicts = ["FAULT" if r["verdict"] == "FAULT" else "judged" for r in records]
    assert verdicts == ["judged", "FAULT", "FAULT", "FAULT", "FAULT", "judged"]
    for record, reason in zip(records[1:5], ("truncated", "0 bytes", "8 to", "I;16"), strict=True):
        assert reason in str(record["error"])
        assert "score" not in record
    assert [record["frame"] for record in records] == list(range(6))
    assert "4 faults" in answer.err
    assert sorted(p.name for p in (tmp_path / "overlays").iterdir()) == [
        "000000_a.png",
        "000005_f.png",
    ]


def test_run_stops_and_changes_its_threshold_as_told(tiny: TinyEngine, tmp_path: Path) -> None:
    source = ("--source", tiny.data / "test/good")
    first = lines(call("run", tiny.path, *source, "--max-frames", 2, "--threshold", 0.0).out)
    assert [(r["verdict"], r["threshold"]) for r in first] == [("NG", 0.0)] * 2
    quiet = ("--threshold", 99, "--save", tmp_path / "o", "--save-what", "anomalous")
    calm = call("run", tiny.path, *source, *quiet, "--threads", 1)
    assert [r["verdict"] for r in lines(calm.out)] == ["OK"] * 3
    assert list((tmp_path / "o").iterdir()) == []


def test_doctor_reports(tmp_path: Path) -> None:
    found = {f["name"]: f for f in json.loads(call("doctor", "--json").out)}
    assert found["pyad_edge"]["detail"].startswith(pyad_edge.__version__)
    assert found["self-test"]["state"] == found["backend onnxruntime"]["state"] == "ok"
    assert "devices cpu" in found["backend onnxruntime"]["detail"]
    for name in ("openvino", "torch", "tensorrt", "tensorrt-rtx"):
        assert found[f"backend {name}"]["state"] in ("ok", "missing")
        assert len(found[f"backend {name}"]["detail"]) > 20
    people = call("doctor")
    assert (people.code, people.err) == (0, "")
    assert "self-test" in people.out


@pytest.mark.parametrize(
    "command",
    [(), ("train", "patchcore"), ("backbone", "export"), ("eval",), ("run",), ("info",), ("demo",)],
)
def test_every_command_has_help(command: tuple[str, ...]) -> None:
    answer = call(*command, "--help")
    assert (answer.code, answer.err) == (0, "")
    assert "Usage: pyad-edge" in answer.out


def test_help_tells_the_exit_codes_and_the_extra() -> None:
    text = " ".join(call("--help").out.split())
    for code in (2, 3, 4, 5, 6, 7, 130):
        assert f" {code}: " in text
    assert "[train]" in text


@pytest.mark.parametrize("module", ["pyad_edge", "pyad_edge.export.cli"])
def test_a_closed_pipe_is_no_failure(tiny: TinyEngine, module: str) -> None:
    start = "from pyad_edge.export.cli import main; main()"
    command = [sys.executable, "-c", start] if "cli" in module else [sys.executable, "-m", module]
    command += ["run", str(tiny.path), "--source", str(tiny.data / "test/good")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()  # the reader goes away before the first line
        complaint = process.stderr.read().decode()
        assert process.wait() == 0
    assert "Traceback" not in complaint
    assert "BrokenPipe" not in complaint
