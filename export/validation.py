"""Choose settings without the test set: held-out good pictures against synthetic defects.

A part of ``train/good`` is kept out of the fit, each of its pictures is scored as it is and with a
synthetic defect, and the same figures as in ``pyad-edge eval`` are taken. They rank settings; they
do not predict how well real defects are found.
"""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pyad_edge.engine_manifest import Preprocessing
from pyad_edge.errors import DataError, SettingError
from pyad_edge.export.metrics import aupro, image_auroc, pixel_auroc
from pyad_edge.export.progress import ProgressCall
from pyad_edge.export.synthetic import Frame, SyntheticSettings, add_defect
from pyad_edge.export.synthetic_textures import Textures
from pyad_edge.images import read_image
from pyad_edge.ops import preprocess
from pyad_edge.roi import covered

__all__ = [
    "ScoreCall",
    "Validation",
    "mask_at_map",
    "mask_of",
    "scorer",
    "split_validation",
    "validate",
]

ScoreCall = Callable[[Frame], tuple[float, NDArray[np.floating]]]
"""One frame to its picture score and its (H, W) anomaly map."""

_RUNS = 20  # that the good pictures are cut into, of which whole ones are held out
_THUMB = 24


@dataclass(frozen=True)
class Validation:
    """Figures over held-out good pictures and the same pictures with synthetic defects.

    Attributes:
        image_auroc: good pictures against those with defects.
        pixel_auroc, aupro: over all of them, at the map's resolution.
        pictures, defects: counts.
    """

    image_auroc: float
    pixel_auroc: float
    aupro: float
    pictures: int
    defects: int

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self)


def split_validation(
    paths: Sequence[Path], *, fraction: float = 0.2, seed: int = 0
) -> tuple[tuple[Path, ...], tuple[Path, ...]]:
    """Split good pictures into those to fit on and those to validate on, copies on one side.

    Cameras number what they take, so near-duplicates (one part taken several times) carry
    neighbouring numbers. The pictures are put in the order of the last number in their names, cut
    into runs where neighbours look least alike, and whole runs are held out, by SHA-256 of
    "seed:name" of their first picture.

    Args:
        paths: good pictures; those that exist in several sizes may be mixed.
        fraction: share to hold out, in (0, 1); met to within half a run.
        seed: another seed holds out others.

    Returns:
        (fit, held out), both in the order of ``paths``.

    Raises:
        SettingError: if the fraction is outside (0, 1).
        DataError: if there are fewer than 8 pictures, or one cannot be read.
    """
    if not 0.0 < fraction < 1.0:
        raise SettingError(f"[validation] expected a fraction in (0, 1), got {fraction}.")
    if len(paths) < 8:
        raise DataError(
            f"[validation] {len(paths)} good pictures cannot be split, at least 8 are needed. "
            "Add pictures of good parts."
        )
    ordered = sorted(paths, key=_number)
    count, wanted = min(_RUNS, len(paths) // 2), fraction * len(paths)
    runs = _cut(ordered, count)
    keys = [hashlib.sha256(f"{seed}:{run[0].name}".encode(errors="replace")) for run in runs]
    held: set[Path] = set()
    for index in sorted(range(len(runs)), key=lambda i: keys[i].digest()):
        grown = len(held) + len(runs[index])
        if not held or (abs(grown - wanted) < abs(len(held) - wanted) and grown < len(paths) - 1):
            held.update(runs[index])
    return (
        tuple(path for path in paths if path not in held),
        tuple(path for path in paths if path in held),
    )


def scorer(pipeline: Any) -> ScoreCall:
    """A pipeline's score of one frame, as :func:`validate` calls it."""

    def score(frame: Frame) -> tuple[float, NDArray[np.floating]]:
        scores = pipeline.score([frame])
        image = scores.image if hasattr(scores, "image") else scores.patches.image
        return float(image[0]), np.array(scores.maps[0])

    return score


def validate(
    score: ScoreCall,
    paths: Sequence[Path],
    *,
    preprocessing: Preprocessing,
    settings: SyntheticSettings | None = None,
    textures: Textures | None = None,
    seed: int = 0,
    per_picture: int = 1,
    progress: ProgressCall | None = None,
) -> Validation:
    """Image AUROC, pixel AUROC and AUPRO of held-out good pictures against synthetic defects.

    Args:
        score: ``scorer(pipeline)``, or any function of a frame (H, W, 3) uint8; called for each
            picture in order, first as it is, then with its defects.
        paths: pictures that ``score`` was not fitted on; none of them twice.
        preprocessing: of the maps: masks take the same path as the pictures.
        settings, textures: of the defects, see :func:`add_defect`.
        seed: of the defects; defect j of picture i is the same for every ``score``.
        per_picture: defective versions of each picture.
        progress: called with ("validation", done, of).

    Raises:
        DataError: if a picture cannot be read or takes no defect.
        SettingError: if ``per_picture`` is below 1, or textures are missing.
    """
    if per_picture < 1:
        raise SettingError(f"[validation] expected per_picture of at least 1, got {per_picture}.")
    labels: list[bool] = []
    values: list[float] = []
    masks: list[NDArray[np.bool_]] = []
    maps: list[NDArray[np.floating]] = []
    for index, path in enumerate(paths):
        frame = read_image(path)
        for version in range(per_picture + 1):
            picture, mask = frame, np.zeros(frame.shape[:2], bool)
            if version:
                rng = np.random.default_rng([seed, index, version])
                made = add_defect(frame, rng, settings=settings, textures=textures)
                picture, mask = made.picture, made.mask
            value, anomaly_map = score(picture)
            labels.append(version > 0)
            values.append(value)
            maps.append(anomaly_map)
            masks.append(mask_at_map(mask, preprocessing))
        if progress is not None:
            progress("validation", index + 1, len(paths))
    return Validation(
        image_auroc=image_auroc(labels, values),
        pixel_auroc=pixel_auroc(masks, maps),
        aupro=aupro(masks, maps),
        pictures=len(paths),
        defects=per_picture * len(paths),
    )


def mask_of(pipeline: Any, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """A defect's mask (H, W) at the resolution of a pipeline's maps, whatever its size policy.

    Args:
        pipeline: its ``map_box`` and ``preprocessing`` say where a map lies on a frame.
        mask: (H, W) bool, of the frame.
    """
    if pipeline.input_info["size_policy"] in ("letterbox", "tile"):
        box = pipeline.map_box((mask.shape[0], mask.shape[1]))
        return np.asarray(covered(mask, box=box, grid=pipeline.input_size) > 0.5)
    return mask_at_map(mask, pipeline.preprocessing)


def mask_at_map(mask: NDArray[np.bool_], preprocessing: Preprocessing) -> NDArray[np.bool_]:
    """A defect's mask (H, W) at the resolution of the map, as ``data.read_mask`` makes it."""
    planes = preprocess(
        mask.astype(np.uint8) * np.uint8(255),
        resize=preprocessing.resize,
        crop=preprocessing.crop,
        mean=(0.0,) * 3,
        std=(1.0,) * 3,
    )
    return np.asarray(planes[0, 0] > 0.5)


def _number(path: Path) -> tuple[int, str]:
    """Order of taking: the last number of the name, then the name."""
    found = re.findall(r"\d+", path.stem)
    return int(found[-1]) if found else 0, path.name


def _cut(ordered: Sequence[Path], count: int) -> list[list[Path]]:
    """``count`` runs of neighbours, cut within a quarter run of even lengths where they differ."""
    thumbs = [_thumbnail(path) for path in ordered]
    alike = [float(np.sum(a * b)) for a, b in itertools.pairwise(thumbs)]
    step, cuts = len(ordered) / count, [0]
    for run in range(1, count):
        reach = int(step // 4)
        places = range(max(cuts[-1] + 1, round(run * step) - reach), round(run * step) + reach + 1)
        cuts.append(min(places, key=lambda place: (alike[place - 1], place)))
    ends = [*cuts[1:], len(ordered)]
    return [list(ordered[a:b]) for a, b in zip(cuts, ends, strict=True)]


def _thumbnail(path: Path) -> NDArray[np.float32]:
    """Small, grey, of zero mean and unit length: light that changed does not tell two apart."""
    grey = cv2.cvtColor(read_image(path), cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (_THUMB, _THUMB), interpolation=cv2.INTER_AREA).astype(np.float32)
    small -= small.mean()
    return np.asarray(small / np.float32(np.linalg.norm(small) + 1e-6))
