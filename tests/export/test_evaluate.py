"""Figures of an engine: recomputed by hand, and absent where the data cannot give them."""

from __future__ import annotations

import io
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console
from sklearn.metrics import roc_auc_score
from tiny_engine import TinyEngine, write_engine

from pyad_edge import DataError, Runtime, read_image
from pyad_edge.export.evaluate import Evaluation, evaluate, render


def printed(report: Evaluation, width: int = 120) -> str:
    text = io.StringIO()
    Console(width=width, file=text).print(render(report))
    return text.getvalue()


@pytest.mark.parametrize("settings", [{}, {"resize": 80, "crop": (64, 64)}], ids=["whole", "crop"])
def test_figures_are_those_of_scores_and_maps(
    tiny: TinyEngine, tmp_path: Path, settings: dict[str, object]
) -> None:
    runtime = Runtime(write_engine(tmp_path / "e.pyad", tiny.data, tiny.backbone, **settings).path)
    report = evaluate(runtime, tiny.data)
    labels, scores, truth, maps = [], [], [], []
    called = dict.fromkeys((row.name for row in report.rows), 0)
    for picture in tiny.scores:
        defect, stem = Path(picture).parent.name, Path(picture).stem
        result = runtime.infer(read_image(picture))
        labels.append(defect != "good")
        scores.append(result.score)
        called[defect] += result.is_anomalous
        mask = np.zeros((96, 96), np.uint8)
        if defect != "good":
            path = tiny.data / "ground_truth" / defect / f"{stem}_mask.png"
            mask = np.asarray(Image.open(path))
        # 96 px to 80 px and the middle 64 of them are the middle 76.8 of 96.
        box = (9.6, 9.6, 86.4, 86.4) if settings else (0, 0, 96, 96)
        small = Image.fromarray(mask).resize((64, 64), Image.Resampling.BILINEAR, box=box)
        truth.append(np.asarray(small) > 127)
        maps.append(result.anomaly_map)
    assert report.image_auroc == pytest.approx(roc_auc_score(labels, scores))
    pixels = roc_auc_score(np.ravel(truth), np.ravel(maps))
    # The masks' borders are interpolated twice, here and there, in different ways.
    assert report.pixel_auroc == pytest.approx(pixels, abs=0.01 if settings else 0.002)
    assert {row.name: row.called_anomalous for row in report.rows} == called
    assert [score for _, score in report.scores] == scores
    good = next(row for row in report.rows if row.name == "good")
    assert (good.pictures, good.image_auroc, good.pixel_auroc) == (3, None, None)
    for row in report.rows:
        if row is not good:
            own = [s for (name, s) in report.scores if name.startswith((row.name + "/", "good/"))]
            kinds = [
                n.startswith("good/")
                for n, _ in report.scores
                if n.startswith((row.name + "/", "good/"))
            ]
            assert row.image_auroc == pytest.approx(roc_auc_score(~np.array(kinds), own))
    assert f"{report.image_auroc:.4f}" in printed(report)


def test_a_missing_mask_is_left_out_and_noted(tiny: TinyEngine, tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(tiny.data, data)
    defects = sorted(path.name for path in (data / "ground_truth").iterdir())
    shutil.rmtree(data / "ground_truth" / defects[0])
    report = evaluate(Runtime(tiny.path), data)
    assert [note for note in report.notes if "no mask" in note] == list(report.notes)
    assert len(report.notes) == 1
    assert report.pixel_auroc is not None
    without = next(row for row in report.rows if row.name == defects[0])
    assert without.pixel_auroc is None
    assert without.image_auroc is not None


@pytest.mark.parametrize("kept", ["good", "defects"])
def test_one_class_alone_has_no_curves(tiny: TinyEngine, tmp_path: Path, kept: str) -> None:
    for folder in (tiny.data / "test").iterdir():
        if (folder.name == "good") == (kept == "good"):
            shutil.copytree(folder, tmp_path / "test" / folder.name)
    report = evaluate(Runtime(tiny.path), tmp_path)
    assert (report.image_auroc, report.f1_max) == (None, None)
    assert any("only one class" in note for note in report.notes)
    assert (report.pixel_auroc, report.aupro) == (None, None)
    json.dumps(report.to_dict(), allow_nan=False)
    assert " - " in printed(report)


def test_an_unreadable_test_picture_is_named(tiny: TinyEngine, tmp_path: Path) -> None:
    good = tmp_path / "test" / "good"
    good.mkdir(parents=True)
    (good / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(DataError, match=r"broken\.png"):
        evaluate(Runtime(tiny.path), tmp_path)


def test_the_tables_fit_80_columns(tiny: TinyEngine) -> None:
    report = evaluate(Runtime(tiny.path), tiny.data)
    slow = replace(report, ms_median=12345.6, ms_p99=23456.7, image_auroc=1.0, f1_max=None)
    lines = printed(slow, width=80).splitlines()
    assert max(map(len, lines)) <= 80
    for headings in (
        ("image AUROC", "pixel AUROC", "AUPRO@0.3", "F1-max", "ms/picture", "p99 ms"),
        ("defect", "pictures", "called anomalous", "image AUROC", "pixel AUROC"),
    ):
        wanted = list(headings)
        assert any([part.strip() for part in line.split("┃")[1:-1]] == wanted for line in lines)
    values = ("1.0000", "12345.6", "23456.7")
    assert any(all(value in line for value in values) for line in lines)
    for row in report.rows:
        assert any(row.name in line for line in lines)
