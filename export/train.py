"""From a folder of pictures to an engine file: the stages of ``pyad-edge train patchcore``."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pyad_edge.calibration import Threshold, threshold_for
from pyad_edge.errors import DataError, SettingError
from pyad_edge.export.backbones import resolve_backbone
from pyad_edge.export.data import check_images, fingerprint, load_dataset, split_holdout
from pyad_edge.export.methods.patchcore import (
    PatchCoreSettings,
    calibrate,
    export_engine,
    fit,
    golden_frames,
)
from pyad_edge.export.methods.patchcore.fit import silent
from pyad_edge.export.progress import ProgressCall
from pyad_edge.images import list_images
from pyad_edge.preprocessing import MAX_SIDE, MIN_SIDE

__all__ = ["TrainReport", "train_patchcore"]


@dataclass(frozen=True)
class TrainReport:
    """What a training did.

    Attributes:
        path: the engine file.
        pictures: in the bank; calibration_pictures: held out of it.
        bank_rows: M.
        threshold: in the engine, with what backs it.
        seconds: in all.
        notes: sentences about the data that a user should read.
    """

    path: Path
    pictures: int
    calibration_pictures: int
    bank_rows: int
    threshold: Threshold
    seconds: float
    notes: tuple[str, ...]


def train_patchcore(
    data: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    settings: PatchCoreSettings,
    backbone: str = "edge18",
    layers: str | None = None,
    calibration_data: str | os.PathLike[str] | None = None,
    threads: int | None = None,
    progress: ProgressCall = silent,
) -> TrainReport:
    """Fit, calibrate and export.

    Args:
        data: MVTec layout, or a folder of good pictures.
        out: the engine file to write; an old one stays until the new one is complete.
        settings: see PatchCoreSettings.
        backbone, layers: see ``resolve_backbone``.
        calibration_data: folder of further good pictures; none: ``settings.holdout`` decides.
        threads: of the backbone.
        progress: called with (stage, done, of).

    Raises:
        DataError, SettingError, BackendError, ResourceError: see fit, calibrate and write_engine.
    """
    start = time.perf_counter()
    out = Path(out)
    _check_target(out)
    resolved = resolve_backbone(backbone, layers=layers)
    dataset = load_dataset(data)
    notes = list(dataset.notes)
    fit_paths, held = split_holdout(dataset.train, fraction=settings.holdout, seed=settings.seed)
    if calibration_data is not None:
        held = (*held, *_others(calibration_data, fit_paths))
    if len(held) < 2:
        raise SettingError(
            "[train] a threshold needs normal pictures that are not in the memory bank, got "
            f"{len(held)}. Use --holdout above 0, or --calibration-data DIR with at least 2."
        )
    sizes = check_images((*fit_paths, *held))
    _check_sizes(sizes)
    if len(sizes) > 1 and settings.crop is None:
        notes.append(
            f"the pictures have {len(sizes)} different sizes; each is resized to "
            f"{settings.resize}, whatever its shape."
        )
    model = fit(
        fit_paths,
        resolved,
        settings,
        names=[path.relative_to(dataset.root).as_posix() for path in fit_paths],
        threads=threads,
        progress=progress,
    )
    if not model.plan.keep_features and model.plan.features:
        notes.append("the features did not fit the memory limit, so the backbone ran twice.")
    pipeline = model.pipeline(threads=threads)
    calibration = calibrate(pipeline, held, progress=progress)
    path = export_engine(
        out,
        model,
        pipeline,
        calibration,
        golden=golden_frames(held),
        fingerprint=fingerprint(fit_paths),
    )
    return TrainReport(
        path=path,
        pictures=len(fit_paths),
        calibration_pictures=len(held),
        bank_rows=len(model.bank),
        threshold=threshold_for(calibration.scores, settings.false_reject),
        seconds=time.perf_counter() - start,
        notes=tuple(notes),
    )


def _others(folder: str | os.PathLike[str], fit_paths: Sequence[Path]) -> tuple[Path, ...]:
    """Pictures to calibrate on, none of which may be in the bank: their scores would be too low."""
    paths = tuple(list_images(Path(folder)))
    known = {path.resolve() for path in fit_paths}
    again = [path.name for path in paths if path.resolve() in known]
    if again:
        raise SettingError(
            f"[train] {len(again)} pictures of --calibration-data {folder} are also fitted on "
            f"(first: {again[0]}), so they would score too low. Name a folder of other good "
            "pictures, or use --holdout instead."
        )
    return paths


def _check_sizes(sizes: Mapping[tuple[int, int], int]) -> None:
    for (H, W), count in sizes.items():
        if min(H, W) < MIN_SIDE or max(H, W) > MAX_SIDE:
            raise DataError(
                f"[train] {count} of the pictures have {W} x {H} pixels, expected sides of "
                f"{MIN_SIDE} to {MAX_SIDE}. Remove them, or cut them into tiles."
            )


def _check_target(out: Path) -> None:
    """Find out before the fit, not after it, that the result cannot be written."""
    folder = out.parent
    if out.is_dir():
        raise SettingError(
            f"[train] --out {out} is a folder. Name a file in it, such as part.pyad."
        )
    if not folder.is_dir():
        raise SettingError(
            f"[train] the folder {folder} of --out {out} does not exist. Make it first."
        )
    if not os.access(folder, os.W_OK):
        raise SettingError(
            f"[train] the folder {folder} of --out {out} may not be written by this user."
        )
