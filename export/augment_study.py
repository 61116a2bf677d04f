"""How an engine bears changes of the scene: ``pyad-edge eval --augment``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.console import Group
from rich.table import Table
from rich.text import Text

from pyad_edge.disk import prepare_folder, save_picture
from pyad_edge.errors import SettingError
from pyad_edge.export.augmentations import AUGMENTATIONS, TITLES, augment, check_augmentable
from pyad_edge.export.data import Sample, load_dataset, read_truth
from pyad_edge.export.evaluate import FPR_LIMIT
from pyad_edge.export.metrics import aupro, image_auroc, pixel_auroc
from pyad_edge.export.progress import ProgressCall, silent
from pyad_edge.export.validation import mask_at_map
from pyad_edge.frame_files import read_frame
from pyad_edge.result import Result
from pyad_edge.roi import covered
from pyad_edge.runtime import Runtime

__all__ = ["AugmentRow", "AugmentStudy", "render_study", "study_augmentations"]

SHEET = "augmentations.png"
_SHOWN = 6  # test pictures on the sheet
_SIDE = 192  # pixels of each there


@dataclass(frozen=True)
class AugmentRow:
    """Figures of the whole test set under one augmentation.

    Attributes:
        augmentation: its name.
        image_auroc, pixel_auroc, aupro: None where the data cannot give them.
        false_rejects: normal pictures called anomalous at the threshold in force.
        missed: defective pictures that are not.
    """

    augmentation: str
    image_auroc: float | None
    pixel_auroc: float | None
    aupro: float | None
    false_rejects: int
    missed: int


@dataclass(frozen=True)
class AugmentStudy:
    """One row per augmentation, of the same pictures.

    Attributes:
        good, defective: pictures of each kind.
        seed: of every angle, shift, gain and sigma.
        threshold_statement: in force, with what backs it.
        notes: what was left out of which figure.
    """

    engine: str
    data: str
    seed: int
    good: int
    defective: int
    rows: tuple[AugmentRow, ...]
    threshold_statement: str
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return vars(self) | {"rows": [vars(row) for row in self.rows]}


def study_augmentations(
    runtime: Runtime,
    data: str | os.PathLike[str],
    *,
    names: Sequence[str] = tuple(AUGMENTATIONS),
    seed: int = 0,
    save: Path | None = None,
    progress: ProgressCall = silent,
) -> AugmentStudy:
    """Evaluate an engine on test pictures that are changed at random.

    Change n of picture i depends on the seed, i and n alone, whatever else is evaluated.

    Args:
        runtime: an open engine.
        data: MVTec layout.
        names: of the augmentations.
        seed: of all changes.
        save: folder for a sheet of changed pictures, ``augmentations.png``.
        progress: called with (augmentation, done, of).

    Raises:
        DataError: if there are no test pictures, one cannot be read, or frames are mosaics.
        SettingError: if a name is unknown.
    """
    if unknown := [name for name in names if name not in AUGMENTATIONS]:
        raise SettingError(
            f"[augment] expected augmentations of {', '.join(AUGMENTATIONS)}, got {unknown[0]}."
        )
    pixel_format = runtime.info["input"]["pixel_format"]
    check_augmentable(pixel_format)
    dataset = load_dataset(data, require_train=False, require_test=True)
    if save is not None:
        prepare_folder(save)
    shown = set(np.linspace(0, len(dataset.test) - 1, _SHOWN).astype(int).tolist())
    rows, strips = [], []
    for name in names:
        results, masks, strip = [], [], []
        for index, sample in enumerate(dataset.test):
            frame = read_frame(sample.path, pixel_format)
            known, truth = _truth(sample, frame)
            rng = np.random.default_rng([seed, index, list(AUGMENTATIONS).index(name)])
            frame, truth = augment(name, frame, truth, rng, pixel_format=pixel_format)
            result = runtime.infer(frame)
            results.append(result)
            masks.append(_on_map(truth, result, runtime) if known else None)
            if save is not None and index in shown:
                strip.append(_tile(runtime.picture(frame), truth))
            progress(name, index + 1, len(dataset.test))
        rows.append(_row(name, dataset.test, results, masks))
        strips.append(strip)
    if save is not None:
        save_picture(save / SHEET, _sheet([TITLES[name] for name in names], strips))
    return AugmentStudy(
        engine=str(runtime.engine.path),
        data=str(dataset.root),
        seed=seed,
        good=sum(not sample.is_anomalous for sample in dataset.test),
        defective=sum(sample.is_anomalous for sample in dataset.test),
        rows=tuple(rows),
        threshold_statement=runtime.threshold.statement(),
        notes=dataset.notes,
    )


def _truth(sample: Sample, frame: NDArray[Any]) -> tuple[bool, NDArray[np.bool_]]:
    """Whether the ground truth is known, and what it is, (H, W) bool."""
    size = (frame.shape[0], frame.shape[1])
    if not sample.is_anomalous:
        return True, np.zeros(size, bool)
    if sample.mask is None:
        return False, np.zeros(size, bool)
    return True, read_truth(sample.mask, size) > 127


def _on_map(truth: NDArray[np.bool_], result: Result, runtime: Runtime) -> NDArray[np.bool_]:
    manifest, shape = runtime.engine.manifest, result.anomaly_map.shape
    if manifest.input is not None and manifest.input.size_policy in ("letterbox", "tile"):
        grid = (shape[0], shape[1])
        return np.asarray(covered(truth, box=result.map_box, grid=grid) > 0.5)
    return mask_at_map(truth, manifest.preprocessing)


def _row(
    name: str,
    samples: Sequence[Sample],
    results: Sequence[Result],
    masks: Sequence[NDArray[np.bool_] | None],
) -> AugmentRow:
    labels = np.array([sample.is_anomalous for sample in samples])
    called = np.array([result.is_anomalous for result in results])
    scores = np.array([result.score for result in results])
    truth = [mask for mask in masks if mask is not None]
    maps = [r.anomaly_map for r, mask in zip(results, masks, strict=True) if mask is not None]
    pixels = any(mask.any() for mask in truth) and not all(mask.all() for mask in truth)
    return AugmentRow(
        augmentation=name,
        image_auroc=image_auroc(labels, scores) if labels.any() and not labels.all() else None,
        pixel_auroc=pixel_auroc(truth, maps) if pixels else None,
        aupro=aupro(truth, maps, fpr_limit=FPR_LIMIT) if pixels else None,
        false_rejects=int(np.sum(called & ~labels)),
        missed=int(np.sum(labels & ~called)),
    )


def render_study(study: AugmentStudy) -> Group:
    """The table that people read; it fits a terminal of 80 columns."""
    table = Table(title=f"{Path(study.engine).name} on {study.data}", title_justify="left")
    table.add_column("augmentation", no_wrap=True)
    for title in (
        "image AUROC",
        "pixel AUROC",
        f"AUPRO@{FPR_LIMIT:g}",
        "false rejects",
        "missed",
    ):
        table.add_column(title, justify="right")
    for row in study.rows:
        figures = (row.image_auroc, row.pixel_auroc, row.aupro)
        table.add_row(
            TITLES[row.augmentation],
            *("-" if value is None else f"{value:.4f}" for value in figures),
            f"{row.false_rejects} of {study.good}",
            f"{row.missed} of {study.defective}",
        )
    return Group(table, Text(study.threshold_statement))


def _tile(picture: NDArray[np.uint8], truth: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """A picture in a square, its ground truth outlined."""
    factor = _SIDE / max(picture.shape[:2])
    size = tuple(max(1, round(side * factor)) for side in picture.shape[1::-1])
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    mask = cv2.resize(truth.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(small, contours, -1, (255, 60, 60), 1)
    tile = np.full((_SIDE, _SIDE, 3), 255, np.uint8)
    top, left = (_SIDE - small.shape[0]) // 2, (_SIDE - small.shape[1]) // 2
    tile[top : top + small.shape[0], left : left + small.shape[1]] = small
    return tile


def _sheet(
    titles: Sequence[str], strips: Sequence[Sequence[NDArray[np.uint8]]]
) -> NDArray[np.uint8]:
    """One strip of pictures per augmentation, its name above it, (H, W, 3) uint8."""
    parts = []
    for title, strip in zip(titles, strips, strict=True):
        pictures = np.hstack(strip)
        banner = np.full((22, pictures.shape[1], 3), 235, np.uint8)
        text = title.replace("±", "+-").replace("°", " deg").replace("σ", "sigma")
        cv2.putText(banner, text, (6, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (20, 20, 20), 1,
                    cv2.LINE_AA)  # fmt: skip
        parts += [banner, pictures]
    return np.vstack(parts)
