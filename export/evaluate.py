"""Measure an engine on a data set: ``pyad-edge eval``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Group
from rich.table import Table
from rich.text import Text

from pyad_edge.disk import save_picture
from pyad_edge.engine_manifest import Manifest
from pyad_edge.export.correlation_view import correlation_view
from pyad_edge.export.data import Sample, load_dataset, read_mask, read_mask_at
from pyad_edge.export.methods.patchcore.fit import silent
from pyad_edge.export.metrics import aupro, f1_max, image_auroc, pixel_auroc
from pyad_edge.export.progress import ProgressCall
from pyad_edge.frame_files import read_frame
from pyad_edge.overlay import draw_overlay
from pyad_edge.result import Result
from pyad_edge.runtime import Runtime

__all__ = ["DefectRow", "Evaluation", "evaluate", "render"]

FPR_LIMIT = 0.3  # up to which AUPRO is integrated


@dataclass(frozen=True)
class DefectRow:
    """One kind of defect against all normal test pictures; ``good`` has no AUROC.

    Attributes:
        name: of the folder.
        pictures, called_anomalous: counts, at the threshold in force.
        image_auroc, pixel_auroc: None where there is nothing to compare.
    """

    name: str
    pictures: int
    called_anomalous: int
    image_auroc: float | None
    pixel_auroc: float | None


@dataclass(frozen=True)
class Evaluation:
    """All figures of an evaluation. Rates are 0..1; pixel figures at the network's resolution.

    Attributes:
        image_auroc, pixel_auroc, aupro, f1_max: None where the data cannot give them.
        rows: per defect.
        threshold_statement: in force, with what backs it.
        ms_median, ms_p99: milliseconds per picture, frame in memory to result.
        scores: of every picture, in order, with its name.
        notes: what was left out of which figure.
    """

    engine: str
    data: str
    image_auroc: float | None
    pixel_auroc: float | None
    aupro: float | None
    f1_max: float | None
    rows: tuple[DefectRow, ...]
    threshold_statement: str
    ms_median: float
    ms_p99: float
    scores: tuple[tuple[str, float], ...]
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        plain = vars(self).copy()
        plain["rows"] = [vars(row) for row in self.rows]
        plain["scores"] = dict(self.scores)
        return plain


def evaluate(
    runtime: Runtime,
    data: str | os.PathLike[str],
    *,
    save: Path | None = None,
    patch: tuple[int, int] | None = None,
    progress: ProgressCall = silent,
) -> Evaluation:
    """Score every test picture, one by one.

    AUPRO is integrated up to a false-positive rate of 0.3 over the whole set. Ground truth is
    brought to the map's resolution by the picture's own pre-processing, then cut at 0.5.

    Args:
        runtime: an open engine.
        data: MVTec layout.
        save: folder for overlays; those of engines that correlate patches show what one patch is
            correlated with.
        patch: (row, column) of it, on the finest level; none: the one with the highest score.
        progress: called with (stage, done, of).

    Raises:
        DataError: if there are no test pictures or one cannot be read.
        SettingError: if a patch is named that the engine does not have.
    """
    view = correlation_view(runtime, patch) if save is not None or patch is not None else None
    dataset = load_dataset(data, require_train=False, require_test=True)
    notes = list(dataset.notes)
    pixel_format = runtime.info["input"]["pixel_format"]
    manifest = runtime.engine.manifest
    if runtime.info["input"]["regions_of_interest"]:
        notes.append(
            "pixel figures cover whole pictures: outside the region of interest the map is 0."
        )
    results: list[Result] = []
    masks: list[NDArray[np.bool_] | None] = []
    for index, sample in enumerate(dataset.test):
        frame = read_frame(sample.path, pixel_format)
        result = runtime.infer(frame)
        mask = _ground_truth(sample, frame.shape[:2], result, manifest)
        results.append(result)
        masks.append(mask)
        if save is not None:
            truth = mask if sample.is_anomalous else None
            picture = draw_overlay(
                runtime.picture(frame),
                result,
                ground_truth=truth,
                title=sample.path.name,
                planes=view.planes(frame, result) if view is not None else (),
            )
            save_picture(save / sample.defect / f"{sample.path.name}.png", picture)
        progress("evaluation", index + 1, len(dataset.test))
    return _summarise(runtime, dataset.root, dataset.test, results, masks, notes)


def _ground_truth(
    sample: Sample, frame_size: tuple[int, ...], result: Result, manifest: Manifest
) -> NDArray[np.bool_] | None:
    """(H, W) bool at the map's resolution; None where a defect's mask is missing."""
    if not sample.is_anomalous:
        return np.zeros(result.anomaly_map.shape, bool)
    if sample.mask is None:
        return None
    size = (frame_size[0], frame_size[1])
    if manifest.input is not None and manifest.input.size_policy in ("letterbox", "tile"):
        shape = result.anomaly_map.shape
        return read_mask_at(
            sample.mask, box=result.map_box, map_size=(shape[0], shape[1]), picture_size=size
        )
    settings = manifest.preprocessing
    return read_mask(sample.mask, resize=settings.resize, crop=settings.crop, picture_size=size)


def _summarise(
    runtime: Runtime,
    root: Path,
    samples: Sequence[Sample],
    results: Sequence[Result],
    masks: Sequence[NDArray[np.bool_] | None],
    notes: list[str],
) -> Evaluation:
    labels = np.array([sample.is_anomalous for sample in samples])
    scores = np.array([result.score for result in results])
    both = bool(labels.any() and not labels.all())
    if not both:
        notes.append("only one class of pictures: AUROC and F1 need normal and defective ones.")
    known = [i for i, mask in enumerate(masks) if mask is not None]
    truth = [mask for mask in masks if mask is not None]
    maps = [results[i].anomaly_map for i in known]
    pixels = any(mask.any() for mask in truth) and not all(mask.all() for mask in truth)
    rows = []
    for name in dict.fromkeys(sample.defect for sample in samples):
        own = [i for i, sample in enumerate(samples) if sample.defect == name]
        against = [i for i in range(len(samples)) if not labels[i]] + own
        pixel_own = [i for i in against if masks[i] is not None]
        anomalous = bool(labels[own[0]])
        own_truth = [mask for i in pixel_own if (mask := masks[i]) is not None]
        rows.append(
            DefectRow(
                name=name,
                pictures=len(own),
                called_anomalous=sum(results[i].is_anomalous for i in own),
                image_auroc=image_auroc(labels[against], scores[against])
                if anomalous and both
                else None,
                pixel_auroc=pixel_auroc(own_truth, [results[i].anomaly_map for i in pixel_own])
                if anomalous and any(mask.any() for mask in own_truth)
                else None,
            )
        )
    times = np.array([result.timings["total"] for result in results])
    return Evaluation(
        engine=str(runtime.engine.path),
        data=str(root),
        image_auroc=image_auroc(labels, scores) if both else None,
        pixel_auroc=pixel_auroc(truth, maps) if pixels else None,
        aupro=aupro(truth, maps, fpr_limit=FPR_LIMIT) if pixels else None,
        f1_max=f1_max(labels, scores) if both else None,
        rows=tuple(rows),
        threshold_statement=runtime.threshold.statement(),
        ms_median=float(np.median(times)),
        ms_p99=float(np.quantile(times, 0.99)),
        scores=tuple(
            (f"{sample.defect}/{sample.path.name}", float(score))
            for sample, score in zip(samples, scores, strict=True)
        ),
        notes=tuple(notes),
    )


def render(report: Evaluation) -> Group:
    """The tables that people read; they fit a terminal of 80 columns."""
    figures = Table(title=f"{Path(report.engine).name} on {report.data}", title_justify="left")
    for title in (
        "image AUROC",
        "pixel AUROC",
        f"AUPRO@{FPR_LIMIT:g}",
        "F1-max",
        "ms/picture",
        "p99 ms",
    ):
        figures.add_column(title, justify="right", no_wrap=True)
    figures.add_row(
        _rate(report.image_auroc),
        _rate(report.pixel_auroc),
        _rate(report.aupro),
        _rate(report.f1_max),
        f"{report.ms_median:.1f}",
        f"{report.ms_p99:.1f}",
    )
    defects = Table()
    defects.add_column("defect")
    for title in ("pictures", "called anomalous", "image AUROC", "pixel AUROC"):
        defects.add_column(title, justify="right", no_wrap=True)
    for row in report.rows:
        defects.add_row(
            row.name,
            str(row.pictures),
            str(row.called_anomalous),
            _rate(row.image_auroc),
            _rate(row.pixel_auroc),
        )
    return Group(figures, defects, Text(report.threshold_statement))


def _rate(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
