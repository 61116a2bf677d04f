from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pyad_edge import ops
from pyad_edge.ops import cuda

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(cuda.device_count() == 0, reason="no CUDA device here"),
]

# (C, h, w) per level; pre_dim; target_dim
CASES: list[tuple[list[tuple[int, int, int]], int, int]] = [
    ([(8, 10, 10), (16, 5, 5)], 24, 24),
    ([(6, 29, 17), (10, 15, 9)], 20, 33),
    ([(5, 6, 7), (7, 3, 4), (9, 2, 2)], 13, 17),  # dims that straddle levels
    ([(4, 5, 3), (4, 5, 3)], 9, 18),  # the same grid
    ([(3, 9, 13), (2, 70, 90)], 10, 12),  # a deeper level on a finer grid
    ([(64, 28, 28), (128, 14, 14)], 192, 192),
    ([(2, 1, 1), (3, 1, 1)], 5, 1),
]


def maps(levels: list[tuple[int, int, int]], N: int = 2) -> list[NDArray[np.float32]]:
    rng = np.random.default_rng(5)
    return [rng.standard_normal((N, *level), np.float32) for level in levels]


@pytest.mark.parametrize(("levels", "pre_dim", "target_dim"), CASES)
@pytest.mark.parametrize("variant", ["official", "average"])
def test_bit_equal_to_the_cpu(
    levels: list[tuple[int, int, int]], pre_dim: int, target_dim: int, variant: Any
) -> None:
    settings: dict[str, Any] = {"variant": variant}
    if variant == "official":
        settings |= {"pre_dim": pre_dim, "target_dim": target_dim}
    features = maps(levels)
    ours = cuda.patch_aggregation(features, **settings)
    assert ours.tobytes() == ops.patch_aggregation(features, **settings).tobytes()


def test_device_arrays_are_used_where_they_lie() -> None:
    features = maps([(8, 12, 11), (16, 6, 6)], N=3)
    on_device = [cuda.DeviceArray.from_numpy(feature) for feature in features]
    expected = ops.patch_aggregation(features, pre_dim=24, target_dim=40)
    made = cuda.patch_aggregation(on_device, pre_dim=24, target_dim=40)
    assert made.numpy().tobytes() == expected.tobytes()
    out = cuda.DeviceArray.from_numpy(np.full(expected.shape, np.nan, np.float32))
    assert cuda.patch_aggregation(on_device, pre_dim=24, target_dim=40, out=out) is out
    assert out.numpy().tobytes() == expected.tobytes()


def test_nan_spreads_only_to_patches_that_see_it() -> None:
    features = maps([(4, 8, 8), (4, 4, 4)], N=1)
    features[0][0, 1, 2, 3] = np.nan
    out = cuda.patch_aggregation(features, pre_dim=12, target_dim=12)
    seen = np.isnan(out[0]).any(axis=2)
    expected = np.zeros((8, 8), bool)
    expected[1:4, 2:5] = True
    np.testing.assert_array_equal(seen, expected)


def test_no_pictures_give_no_rows() -> None:
    out = cuda.patch_aggregation(maps([(4, 8, 8), (4, 4, 4)], N=0), variant="average")
    assert out.shape == (0, 8, 8, 8)


def test_refuses_with_a_sentence() -> None:
    features = maps([(4, 8, 8), (6, 4, 4)])
    with pytest.raises(ValueError, match=r"\[patch_aggregation\].*at least one level"):
        cuda.patch_aggregation([], variant="average")
    with pytest.raises(TypeError, match="level 0 as a float32 array, got float64"):
        cuda.patch_aggregation([features[0].astype(np.float64)], variant="average")
    with pytest.raises(ValueError, match=r"level 1 of shape .* as in level 0, got \(1, 6, 4, 4\)"):
        cuda.patch_aggregation([features[0], features[1][:1]], variant="average")
    with pytest.raises(ValueError, match="at most 8 levels, got 9"):
        cuda.patch_aggregation(maps([(1, 2, 2)] * 9), variant="average")
    out = cuda.DeviceArray((2, 8, 8, 4), np.float32)
    with pytest.raises(ValueError, match=r"out of shape \(2, 8, 8, 10\), got \(2, 8, 8, 4\)"):
        cuda.patch_aggregation(features, variant="average", out=out)
