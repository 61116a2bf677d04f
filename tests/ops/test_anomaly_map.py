from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from ops.harness import check

from pyad_edge import ops
from pyad_edge.reference.anomaly_map import anomaly_map as plain

SIZES = [
    ((28, 28), (224, 224), 4.0),
    ((7, 9), (61, 50), 4.0),
    ((9, 5), (13, 11), 4.0),  # maps smaller than the Gaussian: mirrored more than once
    ((4, 3), (2, 3), 2.5),
    ((1, 1), (8, 8), 4.0),
    ((1, 6), (1, 48), 1.0),
    ((12, 12), (12, 12), 0.7),
    ((6, 7), (24, 35), 0.0),
    ((6, 7), (6, 7), 0.0),
    ((20, 24), (7, 5), 1.5),
    ((5, 5), (40, 40), 0.05),
]


def scores(*shape: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).gamma(2.0, 3.0, shape).astype(np.float32)


@pytest.mark.parametrize(("grid", "size", "sigma"), SIZES)
def test_agrees_with_the_reference_in_every_form(
    grid: tuple[int, int], size: tuple[int, int], sigma: float
) -> None:
    check(ops.anomaly_map, plain, scores(2, *grid), size=size, sigma=sigma, rtol=1e-5)


@pytest.mark.parametrize(("grid", "size", "sigma"), SIZES)
def test_agrees_with_scipy(grid: tuple[int, int], size: tuple[int, int], sigma: float) -> None:
    ndimage = pytest.importorskip("scipy.ndimage")
    patch_scores = scores(1, *grid)
    up = patch_scores[0].astype(np.float64)
    for axis in (0, 1):
        at = (np.arange(size[axis]) + 0.5) * grid[axis] / size[axis] - 0.5
        up = np.apply_along_axis(lambda v, at=at: np.interp(at, np.arange(len(v)), v), axis, up)
    expected = ndimage.gaussian_filter(up, sigma, mode="reflect", truncate=4.0)
    maps, maxima = ops.anomaly_map(patch_scores, size=size, sigma=sigma)
    np.testing.assert_allclose(maps[0], expected, rtol=1e-5)
    np.testing.assert_allclose(maxima[0], expected.max(), rtol=1e-5)


@pytest.mark.parametrize("grid", [(7, 9), (3, 16)])
def test_up_sampling_agrees_with_torch(grid: tuple[int, int]) -> None:
    torch = pytest.importorskip("torch")
    patch_scores = scores(2, *grid)
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(patch_scores)[:, None], size=(61, 50), mode="bilinear", align_corners=False
    )
    maps, _ = ops.anomaly_map(patch_scores, size=(61, 50), sigma=0.0)
    np.testing.assert_allclose(maps, expected[:, 0].numpy(), rtol=1e-5)


def test_maxima_are_those_of_the_maps_exactly() -> None:
    for seed in range(5):
        maps, maxima = ops.anomaly_map(scores(3, 13, 11, seed=seed) - 20, size=(53, 47))
        np.testing.assert_array_equal(maxima, maps.max(axis=(1, 2)))


def test_batch_equals_single_maps_bit_for_bit() -> None:
    batch = scores(5, 14, 14)
    maps, maxima = ops.anomaly_map(batch, size=(112, 112))
    for n in range(5):
        alone, maximum = ops.anomaly_map(batch[n : n + 1], size=(112, 112))
        assert alone.tobytes() == maps[n].tobytes()
        assert maximum[0] == maxima[n]


def test_a_constant_stays_constant() -> None:
    maps, _ = ops.anomaly_map(np.full((1, 5, 4), 3.0, np.float32), size=(40, 37))
    np.testing.assert_allclose(maps, 3.0, rtol=1e-6)


def test_no_maps_give_no_rows() -> None:
    maps, maxima = ops.anomaly_map(scores(0, 4, 4), size=(8, 8))
    assert maps.shape == (0, 8, 8)
    assert maxima.shape == (0,)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_refuses_values_that_are_not_finite(bad: float) -> None:
    patch_scores = scores(2, 4, 5)
    patch_scores[1, 2, 3] = bad
    with pytest.raises(ValueError, match=rf"\[anomaly_map\].*{bad} in map 1 at row 2, column 3"):
        ops.anomaly_map(patch_scores, size=(8, 8))


@pytest.mark.parametrize(
    ("patch_scores", "changes", "error", "words"),
    [
        (np.zeros((1, 4, 4)), {}, TypeError, "got float64"),
        ([[1.0]], {}, TypeError, "got list"),
        (scores(4, 4), {}, ValueError, r"scores\[None\]"),
        (scores(1, 0, 4), {}, ValueError, r"\(1, 0, 4\)"),
        (scores(1, 4, 4), {"size": (0, 8)}, ValueError, r"got \(0, 8\)"),
        (scores(1, 4, 4), {"size": (8,)}, ValueError, r"\(H, W\)"),
        (scores(1, 4, 4), {"sigma": -1.0}, ValueError, "got -1.0"),
        (scores(1, 4, 4), {"size": (8, 16385)}, ValueError, r"to 16384, got \(8, 16385\)"),
        (scores(1, 4, 4), {"size": (8, float("nan"))}, ValueError, "got .8, nan"),
        (scores(1, 4, 4), {"size": 8}, ValueError, "got 8"),
        (scores(1, 4, 4), {"size": "88"}, ValueError, "got '88'"),
        (scores(1, 4, 4), {"sigma": float("nan")}, ValueError, "got nan"),
        (scores(1, 4, 4), {"sigma": 1e9}, ValueError, "0 to 256 pixels, got 1000000000.0"),
        (scores(1, 4, 4), {"sigma": "4"}, ValueError, "got '4'"),
    ],
)
def test_refuses_with_a_sentence(
    patch_scores: Any, changes: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words) as caught:
        ops.anomaly_map(patch_scores, **{"size": (8, 8), **changes})
    assert str(caught.value).startswith("[anomaly_map]")
