"""Metrics against scikit-learn, torchmetrics, hand-computed cases and a literal AUPRO."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy import ndimage
from sklearn.metrics import precision_recall_curve, roc_auc_score

from pyad_edge.errors import DataError
from pyad_edge.export.metrics import aupro, f1_max, image_auroc, pixel_auroc

Array = npt.NDArray[Any]


def literal_aupro(masks: list[Array], maps: list[Array], limit: float) -> float:
    """The definition word for word: one point of the curve per distinct score, then trapezia."""
    regions = []
    for index, mask in enumerate(masks):
        labels, count = ndimage.label(mask, structure=np.ones((3, 3)))
        regions += [maps[index][labels == number] for number in range(1, count + 1)]
    normal = np.concatenate([m[~mask] for mask, m in zip(masks, maps, strict=True)])
    curve = [(0.0, 0.0)]
    for threshold in np.unique(np.concatenate([m.ravel() for m in maps]))[::-1]:
        overlap = np.mean([np.mean(region >= threshold) for region in regions])
        curve.append((float(np.mean(normal >= threshold)), float(overlap)))
    area = 0.0
    for (x0, y0), (x1, y1) in pairwise(curve):
        if x1 > limit:
            end = y0 + (y1 - y0) * (limit - x0) / (x1 - x0)
            return (area + (limit - x0) * (y0 + end) / 2) / limit
        area += (x1 - x0) * (y0 + y1) / 2
    return area / limit


def random_case(seed: int, *, levels: int | None) -> tuple[list[Array], list[Array]]:
    rng = np.random.default_rng(seed)
    masks, maps = [], []
    for shape in ((13, 17), (20, 9), (16, 16)):
        mask = ndimage.gaussian_filter(rng.standard_normal(shape), 1.5) > 0.22
        scores = rng.standard_normal(shape).astype(np.float32) + mask * 0.8
        if levels:
            scores = np.clip((scores + 3) * levels / 7, 0, levels).astype(np.uint8)
        masks.append(mask)
        maps.append(scores)
    masks.append(np.zeros((5, 5), bool))
    maps.append(maps[0][:5, :5])
    return masks, maps


def flat(arrays: list[Array]) -> Array:
    return np.concatenate([a.ravel() for a in arrays])


@pytest.mark.parametrize("ties", [False, True])
def test_image_auroc_is_scikit_learns(ties: bool) -> None:
    rng = np.random.default_rng(3)
    for count in (2, 7, 200):
        labels = rng.integers(0, 2, count)
        labels[:2] = 0, 1
        scores = rng.integers(0, 4, count) if ties else rng.standard_normal(count)
        expected = roc_auc_score(labels, scores)
        assert image_auroc(labels, scores) == pytest.approx(expected, abs=1e-12)
        assert image_auroc(labels.astype(bool), list(scores)) == image_auroc(labels, scores)


def test_image_auroc_is_torchmetrics() -> None:
    torch = pytest.importorskip("torch")
    functional = pytest.importorskip("torchmetrics.functional")
    rng = np.random.default_rng(4)
    labels, scores = rng.integers(0, 2, 300), rng.random(300).astype(np.float32).round(2)
    expected = functional.auroc(torch.from_numpy(scores), torch.from_numpy(labels), task="binary")
    assert image_auroc(labels, scores) == pytest.approx(float(expected), abs=1e-6)


def test_image_auroc_by_hand() -> None:
    assert image_auroc([0, 0, 1, 1], [1, 2, 3, 4]) == 1.0
    assert image_auroc([1, 1, 0, 0], [1, 2, 3, 4]) == 0.0
    assert image_auroc([0, 1, 0, 1], [5, 5, 5, 5]) == 0.5
    assert image_auroc([0, 0, 1], [1, 2, 2]) == 0.75


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.uint8, np.int64])
def test_f1_max_is_scikit_learns(dtype: type) -> None:
    rng = np.random.default_rng(5)
    labels = rng.integers(0, 2, 90)
    scores = (rng.random(90) * 12 + labels * 3).astype(dtype)
    precision, recall, _ = precision_recall_curve(labels, scores)
    expected = np.max(2 * precision * recall / np.maximum(precision + recall, 1e-300))
    assert f1_max(labels, scores) == pytest.approx(expected, abs=1e-12)


def test_f1_max_by_hand() -> None:
    assert f1_max([0, 1, 0, 1], [1, 2, 3, 4]) == pytest.approx(0.8)  # call the upper three
    assert f1_max([0, 0, 1], [1, 1, 1]) == pytest.approx(0.5)
    assert f1_max([0, 1], [0, 1]) == 1.0


@pytest.mark.parametrize("levels", [None, 6, 60])
def test_pixel_auroc_is_scikit_learns(levels: int | None) -> None:
    masks, maps = random_case(6, levels=levels)
    expected = roc_auc_score(flat(masks), flat(maps))
    assert pixel_auroc(masks, maps) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("levels", [None, 6, 60])
@pytest.mark.parametrize("limit", [0.01, 0.3, 1.0])
def test_aupro_is_its_literal_definition(levels: int | None, limit: float) -> None:
    for seed in range(4):
        masks, maps = random_case(seed, levels=levels)
        expected = literal_aupro(masks, maps, limit)
        assert aupro(masks, maps, limit) == pytest.approx(expected, abs=1e-12)


def test_aupro_by_hand() -> None:
    # Regions {9, 4} and {7}; normal pixels 8, 5, 3, 2. A column of normal pixels lies between.
    mask = np.array([[1, 0, 0, 1], [1, 0, 0, 0]], bool)
    scores = np.array([[9.0, 8.0, 5.0, 7.0], [4.0, 3.0, 2.0, 1.0]])
    scores[1, 3] = 0.0
    # FPR 0, 1/5, 2/5, 3/5 ... ; PRO = 1/4 up to 1/5, then 3/4 up to 2/5, then 1.
    assert aupro([mask], [scores], 1.0) == pytest.approx((0.25 + 0.75 + 3 * 1.0) / 5)
    assert aupro([mask], [scores], 0.3) == pytest.approx((0.2 * 0.25 + 0.1 * 0.75) / 0.3)


def test_aupro_ties_are_a_slope_and_constant_maps_half_the_limit() -> None:
    masks, _ = random_case(0, levels=None)
    constant = [np.zeros(m.shape, np.float32) for m in masks]
    assert aupro(masks, constant, 0.3) == pytest.approx(0.15)
    assert aupro(masks, [m.astype(np.float32) for m in masks]) == pytest.approx(1.0)
    assert aupro(masks, [(~m).astype(np.float32) for m in masks]) == pytest.approx(0.0)


def test_aupro_counts_diagonal_neighbours_as_one_region() -> None:
    mask, scores = np.zeros((6, 6), bool), np.zeros((6, 6), np.float32)
    mask[1, 1] = mask[2, 2] = mask[3, 3] = True  # one region of three pixels
    mask[0, 5] = True  # and one of a single pixel
    scores[0, 5] = 1.0
    # The single pixel is found at FPR 0, the other three with all normal pixels (a slope).
    assert aupro([mask], [scores], 1.0) == pytest.approx(0.5 + 0.5 * 0.5)


def test_aupro_is_over_the_set_not_per_picture() -> None:
    """Picture 2 scores ten times as high everywhere: per picture both would be perfect."""
    mask = np.zeros((4, 4), bool)
    mask[1, 1] = True
    scores = mask.astype(np.float32) + 1
    assert aupro([mask], [scores]) == pytest.approx(1.0)
    # The first picture's defect (2) lies below all 15 normal pixels (10) of the second.
    assert aupro([mask, mask], [scores, scores * 10]) == pytest.approx(0.5)


def test_arrays_serve_as_well_as_lists() -> None:
    rng = np.random.default_rng(8)
    masks, maps = rng.random((5, 12, 12)) > 0.8, rng.random((5, 12, 12)).astype(np.float16)
    assert pixel_auroc(masks, maps) == pixel_auroc(list(masks), list(maps))
    assert aupro(masks, maps) == aupro(list(masks), list(maps))


@pytest.mark.parametrize("metric", [image_auroc, f1_max])
def test_one_class_is_refused(metric: Any) -> None:
    with pytest.raises(DataError, match=r"got 3 normal and 0 anomalous.*test/<defect>"):
        metric([0, 0, 0], [1.0, 2.0, 3.0])
    with pytest.raises(DataError, match="got 0 normal and 2 anomalous"):
        metric([1, 1], [1.0, 2.0])
    with pytest.raises(DataError, match="got 0 normal and 0 anomalous"):
        metric([], [])


@pytest.mark.parametrize("metric", [image_auroc, f1_max])
def test_wrong_pictures_scores_are_refused(metric: Any) -> None:
    with pytest.raises(ValueError, match=r"\(2,\) and \(3,\)"):
        metric([0, 1], [1, 2, 3])
    with pytest.raises(ValueError, match=r"labels 0 .* or 1"):
        metric([0, 2], [1, 2])
    with pytest.raises(ValueError, match="1 of the scores are NaN"):
        metric([0, 1], [1, np.nan])


@pytest.mark.parametrize("metric", [pixel_auroc, aupro])
def test_wrong_maps_are_refused(metric: Any) -> None:
    mask, scores = np.eye(4, dtype=bool), np.eye(4)
    with pytest.raises(DataError, match="got 0 of 16"):
        metric([mask & False], [scores])
    with pytest.raises(DataError, match="got 16 of 16"):
        metric([mask | True], [scores])
    with pytest.raises(ValueError, match="1 masks, 2 maps"):
        metric([mask], [scores, scores])
    with pytest.raises(ValueError, match="dtype bool, got uint8"):
        metric([mask.astype(np.uint8)], [scores])
    with pytest.raises(ValueError, match=r"mask \(4, 4\) and map \(3, 4\)"):
        metric([mask], [scores[:3]])
    with pytest.raises(ValueError, match="holds NaN"):
        metric([mask], [scores * np.nan])
    with pytest.raises(ValueError, match="got int64"):
        metric([mask], [mask.astype(np.int64)])


@pytest.mark.parametrize("limit", [0.0, -0.1, 1.5, float("nan")])
def test_aupro_limit_is_checked(limit: float) -> None:
    with pytest.raises(ValueError, match=r"fpr_limit in \(0, 1\]"):
        aupro([np.eye(4, dtype=bool)], [np.eye(4)], limit)
