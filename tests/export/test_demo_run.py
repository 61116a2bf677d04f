"""The demo keeps its promise: defects are found, files are there, nobody's folder is touched."""

from __future__ import annotations

import shutil
import sys
from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest
from command_line import Answer, call

from pyad_edge import Runtime, SettingError, read_image
from pyad_edge.export.demo import DEFECTS, DemoReport, run_demo, stream
from pyad_edge.export.metrics import image_auroc


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """A demo of seconds."""
    for name, count in (("TRAIN", 12), ("GOOD", 2), ("PER_DEFECT", 1)):
        monkeypatch.setattr(stream, name, count)


def closing(answer: Answer, folder: Path) -> None:
    """What stays on the screen: the figures, then where the files are."""
    assert (answer.code, "Traceback" in answer.err) == (0, False), answer.err
    text = answer.out.replace("\n", "")
    assert text.endswith(f"engine   {folder / 'part.pyad'}overlays {folder / 'overlays'}")
    for start in ("latency  p50 ", "pictures "):
        assert sum(line.startswith(start) for line in answer.out.splitlines()) == 1
    for step in ("1. Pictures", "2. Fit", "3. Camera loop"):
        assert step in answer.err
    assert "are anomalous: " in " ".join(answer.err.split())


@pytest.mark.slow
def test_the_demo_finds_the_defects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reports: list[DemoReport] = []

    def watched(folder: Path, *, seed: int, threads: int | None) -> DemoReport:
        reports.append(run_demo(folder, seed=seed, threads=threads))
        return reports[-1]

    monkeypatch.setattr("pyad_edge.export.cli.run_demo", watched)
    folder = tmp_path / "demo"
    closing(call("demo", "--out", folder), folder)
    (report,) = reports
    assert report.image_auroc >= 0.98
    assert report.frames == 60 + 10 * len(DEFECTS)
    assert sum(report.verdicts.values()) == report.frames
    found = sum(report.verdicts.get((defect, "NG"), 0) for defect in DEFECTS)
    assert found >= 0.9 * 10 * len(DEFECTS)
    assert report.verdicts["good", "OK"] >= 0.8 * 60

    # The figures are those of the files it left.
    runtime = Runtime(report.engine)
    assert runtime.threshold.normal_pictures == 32
    shown = sorted((folder / "part" / "test").rglob("*.png"))
    scores = [runtime.infer(read_image(path)).score for path in shown]
    again = image_auroc([path.parent.name != "good" for path in shown], scores)
    assert again == pytest.approx(report.image_auroc, abs=1e-6)
    assert len(list((folder / "stream").iterdir())) == report.frames
    overlays = sorted(report.overlays.rglob("*.png"))
    assert len(overlays) == report.frames
    assert {path.parent.name for path in overlays} == {"good", *DEFECTS}
    assert read_image(overlays[0]).ndim == 3
    with pytest.raises(FrozenInstanceError):
        report.image_auroc = 1.0  # type: ignore[misc]


@pytest.mark.usefixtures("short")
def test_its_own_folder_is_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "demo"
    first = run_demo(folder, seed=0, threads=None)
    engine = first.engine.read_bytes()
    (folder / "overlays" / "old.png").touch()
    answer = call("demo", "--out", folder, "--seed", 1, "--threads", 1)
    closing(answer, folder)
    assert not (folder / "overlays" / "old.png").exists()
    assert len(list((folder / "stream").iterdir())) == first.frames == 2 + len(DEFECTS)
    assert first.engine.read_bytes() != engine
    run_demo(folder, seed=0, threads=None)
    assert first.engine.read_bytes() == engine, "the same seed gives the same file"


@pytest.mark.parametrize("content", ["empty", "picture", "file"])
def test_a_folder_of_others_is_refused_untouched(tmp_path: Path, content: str) -> None:
    folder = tmp_path / "mine"
    if content == "file":
        folder.write_text("mine")
    else:
        folder.mkdir()
    if content == "picture":
        (folder / "precious.png").write_bytes(b"mine")
    before = sorted(path.name for path in tmp_path.rglob("*"))
    answer = call("demo", "--out", folder)
    assert answer.code == 2
    assert f"{folder} exists and was not made by the demo" in answer.sentence
    assert "Choose another folder with --out" in answer.sentence
    assert sorted(path.name for path in tmp_path.rglob("*")) == before


@pytest.mark.usefixtures("short")
def test_it_needs_neither_torch_nor_onnx(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("torch", "torchvision", "timm", "onnx"):
        monkeypatch.setitem(sys.modules, name, None)
    report = run_demo(tmp_path / "demo", seed=2, threads=None)
    assert report.engine.is_file()
    shutil.rmtree(tmp_path / "demo" / "overlays")
    (tmp_path / "demo" / stream.MARKER).unlink()
    with pytest.raises(SettingError, match="was not made by the demo"):
        run_demo(tmp_path / "demo", seed=2, threads=None)
