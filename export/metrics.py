"""The project's one definition of each accuracy figure.

All of them are exact: every distinct score is a threshold, equal scores are one step of the
curve, and nothing is binned. A picture or pixel is called anomalous where its score >= threshold.
Pixel figures and AUPRO are taken over the whole test set, never averaged over pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from pyad_edge.errors import DataError

__all__ = ["aupro", "f1_max", "image_auroc", "pixel_auroc"]

Array = npt.NDArray[Any]


def image_auroc(labels: npt.ArrayLike, scores: npt.ArrayLike) -> float:
    """Area under the ROC curve over pictures, ties counted as one half.

    Equals the Mann-Whitney statistic: P(s+ > s-) + P(s+ = s-) / 2.

    Args:
        labels: (N,) bool or 0/1; true = anomalous.
        scores: (N,) real, larger = more anomalous.

    Returns:
        A value in [0, 1].

    Raises:
        DataError: Only one class is present.
        ValueError: Shapes differ, a label is neither 0 nor 1, or a score is NaN.
    """
    truth, values = _checked("image_auroc", labels, scores)
    return _auroc(values[truth], np.sort(values[~truth]))


def f1_max(labels: npt.ArrayLike, scores: npt.ArrayLike) -> float:
    """Largest F1 of the anomalous class over all thresholds on the picture score.

    F1 = 2 TP / (2 TP + FP + FN); every distinct score is tried as the threshold.

    Args:
        labels: (N,) bool or 0/1; true = anomalous.
        scores: (N,) real, larger = more anomalous.

    Returns:
        A value in (0, 1].

    Raises:
        DataError: Only one class is present.
        ValueError: Shapes differ, a label is neither 0 nor 1, or a score is NaN.
    """
    truth, values = _checked("f1_max", labels, scores)
    order = np.argsort(values)[::-1]
    truth, values = truth[order], values[order]
    last_of_tie = np.append(values[1:] != values[:-1], True)
    hits = np.cumsum(truth)[last_of_tie]
    called = np.arange(1, truth.size + 1)[last_of_tie]
    # 2 TP + FP + FN = called + positives
    return float(np.max(2.0 * hits / (called + truth.sum())))


def pixel_auroc(masks: Sequence[Array] | Array, maps: Sequence[Array] | Array) -> float:
    """Area under the ROC curve over all pixels of all pictures, ties counted as one half.

    Memory: one sorted copy of the normal pixels' scores (92 MB for 354 maps of 256 x 256 float32).

    Args:
        masks: N masks (H, W) bool; true = defect. Sizes may differ from picture to picture.
        maps: N anomaly maps (H, W), float or unsigned integer, larger = more anomalous.

    Returns:
        A value in [0, 1].

    Raises:
        DataError: No defect pixel or no normal pixel.
        ValueError: Counts, shapes or dtypes do not match, or a map holds NaN.
    """
    pairs = _checked_pairs("pixel_auroc", masks, maps)
    normal = _sorted_normal(pairs)
    return _auroc(np.concatenate([scores[mask] for mask, scores in pairs]), normal)


def aupro(
    masks: Sequence[Array] | Array, maps: Sequence[Array] | Array, fpr_limit: float = 0.3
) -> float:
    """Area under the per-region-overlap curve up to a false-positive rate, divided by that rate.

    Bergmann et al., "The MVTec Anomaly Detection Dataset", IJCV 2021, section 5: a region is an
    8-connected component of a ground-truth mask; PRO(t) is the mean, over the regions of all
    pictures, of the share of a region's pixels with score >= t; FPR(t) is the share of all normal
    pixels (those in defective pictures included) with score >= t. Between neighbouring thresholds
    the curve is a straight line, which also gives the end point at the limit.

    The integral is evaluated in closed form, not on a sampled curve: a pixel of region r with
    score s contributes weight 1 / (R |r|) from FPR b on, rising linearly between a and b, where
    a and b are the shares of normal pixels with scores > s and >= s.

    Args:
        masks: N masks (H, W) bool; true = defect. An all-normal mask only adds normal pixels.
        maps: N anomaly maps (H, W), float or unsigned integer, larger = more anomalous.
        fpr_limit: Upper end of the integral, in (0, 1].

    Returns:
        A value in [0, 1]; constant maps give fpr_limit / 2.

    Raises:
        DataError: No defect region or no normal pixel.
        ValueError: Counts, shapes or dtypes do not match, a map holds NaN, or the limit is outside
            (0, 1].
    """
    if not 0.0 < fpr_limit <= 1.0:
        raise ValueError(f"[aupro] expected fpr_limit in (0, 1], got {fpr_limit}.")
    pairs = _checked_pairs("aupro", masks, maps)
    normal = _sorted_normal(pairs)
    regions, total = 0, 0.0
    for mask, scores in pairs:
        count, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
        regions += count - 1
        if count == 1:
            continue
        inside = labels[mask]
        weights = 1.0 / np.bincount(inside, minlength=count)[inside]
        total += float(np.sum(weights * _counted_share(scores[mask], normal, fpr_limit)))
    return total / (regions * fpr_limit)


def _counted_share(scores: Array, normal: Array, limit: float) -> npt.NDArray[np.float64]:
    """Integral over FPR in [0, limit] of the indicator (or ramp) "this pixel is called"."""
    above = (normal.size - np.searchsorted(normal, scores, side="right")) / normal.size
    from_here = (normal.size - np.searchsorted(normal, scores, side="left")) / normal.size
    width = from_here - above
    full = limit - above - width / 2.0
    # Inside a ramp that the limit cuts: (limit - a)^2 / 2 (b - a).
    cut = np.square(limit - above) / (2.0 * np.where(width > 0, width, 1.0))
    share = np.where(limit >= from_here, full, cut)
    return np.where(limit > above, share, 0.0)


def _auroc(positive: Array, normal: Array) -> float:
    """Mann-Whitney statistic of positive scores against sorted normal scores."""
    below = np.searchsorted(normal, positive, side="left")
    up_to = np.searchsorted(normal, positive, side="right")
    # Integers: exact however many pixels there are.
    doubled = int(below.sum(dtype=np.int64)) + int(up_to.sum(dtype=np.int64))
    return doubled / (2 * positive.size * normal.size)


def _checked(name: str, labels: npt.ArrayLike, scores: npt.ArrayLike) -> tuple[Array, Array]:
    truth, values = np.asarray(labels), np.asarray(scores)
    if truth.ndim != 1 or truth.shape != values.shape:
        raise ValueError(
            f"[{name}] expected labels and scores of one shape (N,), "
            f"got {truth.shape} and {values.shape}."
        )
    if truth.size and not np.isin(truth, (0, 1)).all():
        raise ValueError(f"[{name}] expected labels 0 (normal) or 1 (anomalous).")
    if np.isnan(values).any():
        raise ValueError(f"[{name}] {int(np.isnan(values).sum())} of the scores are NaN.")
    truth = truth.astype(bool)
    anomalous = int(truth.sum())
    if anomalous in (0, truth.size):
        raise DataError(
            f"[{name}] needs normal and anomalous pictures, got {truth.size - anomalous} normal "
            f"and {anomalous} anomalous. Add pictures to test/good or to test/<defect>."
        )
    return truth, values


def _checked_pairs(
    name: str, masks: Sequence[Array] | Array, maps: Sequence[Array] | Array
) -> list[tuple[Array, Array]]:
    if len(masks) != len(maps):
        raise ValueError(
            f"[{name}] expected one mask a map, got {len(masks)} masks, {len(maps)} maps."
        )
    pairs, defect, pixels = [], 0, 0
    for index in range(len(masks)):
        mask, scores = np.asarray(masks[index]), np.asarray(maps[index])
        if mask.dtype != np.bool_:
            raise ValueError(
                f"[{name}] expected masks of dtype bool, got {mask.dtype} at {index}. "
                "Binarise with mask > 0.5 at the map's resolution first."
            )
        if mask.ndim != 2 or mask.shape != scores.shape:
            raise ValueError(
                f"[{name}] expected a mask (H, W) of its map's shape, "
                f"got mask {mask.shape} and map {scores.shape} at {index}."
            )
        if scores.dtype.kind not in "fu":
            raise ValueError(
                f"[{name}] expected maps of float or unsigned integers, got {scores.dtype} "
                f"at {index}."
            )
        if scores.dtype.kind == "f" and np.isnan(scores).any():
            raise ValueError(f"[{name}] the anomaly map at {index} holds NaN.")
        pairs.append((mask, scores))
        defect, pixels = defect + int(mask.sum()), pixels + mask.size
    if defect in (0, pixels):
        raise DataError(
            f"[{name}] needs defect pixels and normal pixels, got {defect} of {pixels} marked as "
            "defect. Are the masks of ground_truth/<defect> there?"
        )
    return pairs


def _sorted_normal(pairs: list[tuple[Array, Array]]) -> Array:
    """All normal pixels' scores in ascending order, in the maps' own dtype."""
    count = sum(mask.size - int(mask.sum()) for mask, _ in pairs)
    normal = np.empty(count, dtype=np.result_type(*{scores.dtype for _, scores in pairs}))
    start = 0
    for mask, scores in pairs:
        values = scores[~mask]
        normal[start : start + values.size] = values
        start += values.size
    normal.sort()
    return normal
