"""What every method's training begins and ends with: target, pictures, division, spread."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pyad_edge.errors import DataError, SettingError
from pyad_edge.export.data import (
    MIN_TRAIN_IMAGES,
    check_images,
    fingerprint,
    load_dataset,
    split_holdout,
)
from pyad_edge.export.duplicates import contents_of, distinct
from pyad_edge.export.frame_settings import FrameSettings
from pyad_edge.images import list_images
from pyad_edge.preprocessing import MAX_SIDE, MIN_SIDE

__all__ = ["TrainingData", "check_spread", "check_target", "open_data"]

_MAX_NAMED = 3
_ROUNDING = 1e-6  # relative differences that float32 arithmetic makes by itself
Size = tuple[int, int]


@dataclass(frozen=True, eq=False)
class TrainingData:
    """Pictures of good parts, checked and divided; no two are byte copies.

    Attributes:
        fit: pictures to train on.
        held: pictures to calibrate on.
        names: of ``fit``, as results will show them.
        sizes: (H, W) of all pictures, with how many have it.
        notes: sentences about the data that a user should read.
        fingerprint: SHA-256 of ``fit``.
    """

    fit: tuple[Path, ...]
    held: tuple[Path, ...]
    names: tuple[str, ...]
    sizes: Mapping[Size, int]
    notes: tuple[str, ...]
    fingerprint: str


def open_data(
    data: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    holdout: float,
    seed: int,
    resize: Size | int,
    crop: Size | None,
    calibration_data: str | os.PathLike[str] | None = None,
    frames: FrameSettings | None = None,
) -> TrainingData:
    """Find, check and divide the pictures.

    Args:
        data: MVTec layout, or a folder of good pictures; several for several products, each of
            which is divided by itself.
        holdout: share that is kept for calibration.
        seed: of the division.
        resize, crop: of the network's input; for a note about pictures of several sizes.
        calibration_data: folder of further good pictures; none: ``holdout`` decides.
        frames: what frames will come; none: 8-bit RGB or mono pictures, resized.

    Raises:
        DataError: if a picture cannot be used, too few are different, or calibration pictures are
            also fitted on.
        SettingError: if nothing would be left to calibrate on.
    """
    roots = [data] if isinstance(data, str | os.PathLike) else list(data)
    least = MIN_TRAIN_IMAGES if holdout > 0 else 1  # with other pictures to calibrate on
    datasets = [load_dataset(root, least=least) for root in roots]
    notes = [note for dataset in datasets for note in dataset.notes]
    others = tuple(list_images(Path(calibration_data))) if calibration_data is not None else ()
    if holdout == 0 and len(others) < 2:
        raise SettingError(
            "[train] a threshold needs normal pictures that are not in the memory bank, got "
            f"{len(others)}. Use --holdout above 0, or --calibration-data DIR with at least 2."
        )
    train = tuple(path for dataset in datasets for path in dataset.train)
    pixel_format = frames.pixel_format if frames is not None else None
    sizes = check_images((*train, *others), pixel_format)
    _check_sizes(sizes)
    contents = contents_of((*train, *others))
    seen: set[bytes] = set()
    fit: list[Path] = []
    held: list[Path] = []
    names: list[str] = []
    for dataset in datasets:
        unique = [path for path in distinct(dataset.train, contents) if contents[path] not in seen]
        seen |= {contents[path] for path in unique}
        _check_distinct(unique, len(dataset.train), least)
        fitted, kept = split_holdout(unique, fraction=holdout, seed=seed)
        fit += fitted
        held += kept
        start = f"{dataset.root.name}/" if len(datasets) > 1 else ""
        names += [start + path.relative_to(dataset.root).as_posix() for path in fitted]
    calibration = _calibration(fit, held, others, contents)
    if copies := len(train) + len(others) - len(fit) - len(calibration):
        notes.append(
            f"{copies} of {len(train) + len(others)} pictures are byte copies of others and were "
            "left out."
        )
    policy = frames.size_policy if frames is not None else "resize"
    if len(sizes) > 1 and crop is None and policy == "resize":
        notes.append(
            f"the pictures have {len(sizes)} different sizes; each is resized to {resize}, "
            "whatever its shape."
        )
    return TrainingData(
        tuple(fit), calibration, tuple(names), sizes, tuple(notes), fingerprint(fit)
    )


def check_spread(scores: NDArray[np.float32], *, scale: float) -> None:
    """Refuse scores that say nothing about how much normal pictures differ.

    Args:
        scores: (n,) of the calibration pictures, ascending.
        scale: a score that is nothing but rounding lies below a millionth of it.

    Raises:
        DataError: names the scores.
    """
    low, high = float(scores[0]), float(scores[-1])
    if high - low <= _ROUNDING * high or high <= _ROUNDING * scale:
        raise DataError(
            f"[train] all {len(scores)} calibration pictures score between {low:.6g} and "
            f"{high:.6g}, so no threshold can rest on them. They are copies of one another or of "
            "fitted pictures, or too few different ones. Add pictures of other good parts."
        )


def _check_distinct(unique: Sequence[Path], given: int, least: int) -> None:
    if len(unique) < least:
        raise DataError(
            f"[train] {given} good pictures hold only {len(unique)} different contents, the "
            f"rest are byte copies; at least {least} are needed. Add pictures of other "
            "good parts."
        )


def _calibration(
    fit: Sequence[Path],
    held: Sequence[Path],
    others: Sequence[Path],
    contents: Mapping[Path, bytes],
) -> tuple[Path, ...]:
    """Pictures to calibrate on, none of them a byte copy of another or of a fitted one.

    A copy of a fitted picture scores too low, and two copies in calibration count as one picture,
    so a guarantee would not hold for either.
    """
    fitted = {contents[path] for path in fit}
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
    return tuple(calibration)


def _named(names: Sequence[str]) -> str:
    return ", ".join(names[:_MAX_NAMED]) + (", ..." if len(names) > _MAX_NAMED else "")


def _check_sizes(sizes: Mapping[tuple[int, int], int]) -> None:
    for (H, W), count in sizes.items():
        if min(H, W) < MIN_SIDE or max(H, W) > MAX_SIDE:
            raise DataError(
                f"[train] {count} of the pictures have {W} x {H} pixels, expected sides of "
                f"{MIN_SIDE} to {MAX_SIDE}. Remove them, or cut them into tiles."
            )


def check_target(out: Path) -> None:
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
