"""From a folder of pictures to an engine file: the stages of ``pyad-edge train patchcore``
and ``train reconpatch``."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pyad_edge.calibration import Threshold, threshold_for
from pyad_edge.errors import DataError, SettingError
from pyad_edge.export.backbones import resolve_backbone
from pyad_edge.export.data import (
    MIN_TRAIN_IMAGES,
    check_images,
    fingerprint,
    load_dataset,
    split_holdout,
)
from pyad_edge.export.duplicates import contents_of, distinct
from pyad_edge.export.frame_settings import FrameSettings
from pyad_edge.export.methods.patchcore import (
    PatchCoreModel,
    PatchCoreSettings,
    calibrate,
    export_engine,
    fit,
    golden_frames,
)
from pyad_edge.export.methods.patchcore.fit import silent
from pyad_edge.export.methods.patchcore.index import add_index
from pyad_edge.export.methods.reconpatch.settings import ReConPatchSettings
from pyad_edge.export.progress import ProgressCall
from pyad_edge.images import list_images
from pyad_edge.preprocessing import MAX_SIDE, MIN_SIDE

__all__ = ["TrainReport", "train_patchcore"]

_MAX_NAMED = 3
_ROUNDING = 1e-6  # relative differences that float32 arithmetic makes by itself


@dataclass(frozen=True)
class TrainReport:
    """What a training did.

    Attributes:
        path: the engine file.
        pictures: in the bank; calibration_pictures: held out of it.
        bank_rows: M.
        threshold: in the engine, with what backs it.
        search: what the approximate index is and misses; none: the search is exact.
        seconds: in all.
        notes: sentences about the data that a user should read.
    """

    path: Path
    pictures: int
    calibration_pictures: int
    bank_rows: int
    threshold: Threshold
    search: str | None
    seconds: float
    notes: tuple[str, ...]


def train_patchcore(
    data: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    settings: PatchCoreSettings,
    reconpatch: ReConPatchSettings | None = None,
    backbone: str = "edge18",
    layers: str | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    calibration_data: str | os.PathLike[str] | None = None,
    frames: FrameSettings | None = None,
    threads: int | None = None,
    progress: ProgressCall = silent,
) -> TrainReport:
    """Fit, calibrate and export.

    Args:
        data: MVTec layout, or a folder of good pictures.
        out: the engine file to write; an old one stays until the new one is complete.
        settings: see PatchCoreSettings.
        reconpatch: learns a linear map of the patches first, see there; none: PatchCore.
        backbone, layers: see ``resolve_backbone``.
        mean, std: three numbers each, for an ONNX file that does not state them; it must take RGB.
        calibration_data: folder of further good pictures; none: ``settings.holdout`` decides.
        frames: what frames will come; none: 8-bit RGB or mono pictures, resized.
        threads: of the backbone.
        progress: called with (stage, done, of).

    Raises:
        DataError: if a picture cannot be used, too few are different, calibration pictures are also
            fitted on, or their scores have no spread.
        SettingError, BackendError, ResourceError: see fit, calibrate and write_engine.
    """
    start = time.perf_counter()
    out = Path(out)
    _check_target(out)
    resolved = resolve_backbone(backbone, layers=layers, mean=mean, std=std)
    dataset = load_dataset(data)
    notes = list(dataset.notes)
    others = tuple(list_images(Path(calibration_data))) if calibration_data is not None else ()
    if settings.holdout == 0 and len(others) < 2:
        raise SettingError(
            "[train] a threshold needs normal pictures that are not in the memory bank, got "
            f"{len(others)}. Use --holdout above 0, or --calibration-data DIR with at least 2."
        )
    if frames is not None:
        frames.check_fit(resize=settings.resize, crop=settings.crop, index=settings.index)
    pixel_format = frames.pixel_format if frames is not None else None
    sizes = check_images((*dataset.train, *others), pixel_format)
    _check_sizes(sizes)
    fit_paths, held = _divide(dataset.train, others, settings, notes)
    policy = frames.size_policy if frames is not None else "resize"
    if len(sizes) > 1 and settings.crop is None and policy == "resize":
        notes.append(
            f"the pictures have {len(sizes)} different sizes; each is resized to "
            f"{settings.resize}, whatever its shape."
        )
    learned = None
    if reconpatch is not None:
        from pyad_edge.export.methods.reconpatch.fit import learn_map  # needs torch

        learned = learn_map(
            fit_paths,
            resolved,
            settings,
            reconpatch,
            frames=frames,
            sizes=sizes,
            threads=threads,
            progress=progress,
        )
        resolved, settings = learned.backbone, learned.settings
    model = fit(
        fit_paths,
        resolved,
        settings,
        names=[path.relative_to(dataset.root).as_posix() for path in fit_paths],
        frames=frames,
        sizes=sizes,
        threads=threads,
        progress=progress,
    )
    if learned is not None:
        model = replace(model, method="reconpatch", trained=learned.trained)
    if not model.plan.keep_features and model.plan.features:
        notes.append("the features did not fit the memory limit, so the backbone ran twice.")
    model = add_index(model, held, threads=threads, progress=progress)
    pipeline = model.pipeline(threads=threads)
    calibration = calibrate(pipeline, held, progress=progress)
    _check_spread(calibration.scores, model)
    path = export_engine(
        out,
        model,
        pipeline,
        calibration,
        golden=golden_frames(held, declared=model.declared),
        fingerprint=fingerprint(fit_paths),
    )
    return TrainReport(
        path=path,
        pictures=len(fit_paths),
        calibration_pictures=len(held),
        bank_rows=len(model.bank),
        threshold=threshold_for(calibration.scores, settings.false_reject),
        search=model.index.record.statement() if model.index is not None else None,
        seconds=time.perf_counter() - start,
        notes=tuple(notes),
    )


def _divide(
    train: Sequence[Path], others: Sequence[Path], settings: PatchCoreSettings, notes: list[str]
) -> tuple[tuple[Path, ...], tuple[Path, ...]]:
    """Pictures to fit on and pictures to calibrate on, no two of them byte copies.

    A copy of a fitted picture scores too low, and two copies in calibration count as one picture,
    so a guarantee would not hold for either.
    """
    contents = contents_of((*train, *others))
    unique = distinct(train, contents)
    if len(unique) < MIN_TRAIN_IMAGES:
        raise DataError(
            f"[train] {len(train)} good pictures hold only {len(unique)} different contents, the "
            f"rest are byte copies; at least {MIN_TRAIN_IMAGES} are needed. Add pictures of other "
            "good parts."
        )
    fit_paths, held = split_holdout(unique, fraction=settings.holdout, seed=settings.seed)
    fitted = {contents[path] for path in fit_paths}
    again = [path.name for path in others if contents[path] in fitted]
    if again:
        raise DataError(
            f"[train] {len(again)} pictures of --calibration-data have the same contents as "
            f"pictures that are fitted on ({_named(again)}), so they would score too low. Name a "
            "folder of other good pictures, or use --holdout instead."
        )
    calibration = distinct((*held, *others), contents)
    if len(calibration) < 2:
        raise DataError(
            f"[train] {len(others)} pictures of --calibration-data hold only {len(calibration)} "
            "different contents, the rest are byte copies; at least 2 are needed. Add pictures of "
            "other good parts."
        )
    copies = len(train) + len(others) - len(fit_paths) - len(calibration)
    if copies:
        notes.append(
            f"{copies} of {len(train) + len(others)} pictures are byte copies of others and were "
            "left out."
        )
    return fit_paths, calibration


def _check_spread(scores: NDArray[np.float32], model: PatchCoreModel) -> None:
    """Refuse scores that say nothing about how much normal pictures differ.

    Args:
        scores: (n,) of the calibration pictures, ascending.
        model: its bank gives the scale: a distance far below the rows' own length is rounding.
    """
    low, high = float(scores[0]), float(scores[-1])
    length = float(np.sqrt(np.mean(np.sum(np.square(model.bank, dtype=np.float64), axis=1))))
    scale = length**2 if model.settings.scoring == "maximum" else length
    if high - low <= _ROUNDING * high or high <= _ROUNDING * scale:
        raise DataError(
            f"[train] all {len(scores)} calibration pictures score between {low:.6g} and "
            f"{high:.6g}, so no threshold can rest on them. They are copies of one another or of "
            "fitted pictures, or too few different ones. Add pictures of other good parts."
        )


def _named(names: Sequence[str]) -> str:
    return ", ".join(names[:_MAX_NAMED]) + (", ..." if len(names) > _MAX_NAMED else "")


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
