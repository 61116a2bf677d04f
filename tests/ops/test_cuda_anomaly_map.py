from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from ops.harness import assert_bit_equal

from pyad_edge import ops
from pyad_edge.ops import cuda

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(cuda.device_count() == 0, reason="no CUDA device here"),
]

CASES = [
    (1, (28, 28), (224, 224), 4.0),
    (2, (7, 9), (61, 50), 4.0),
    (3, (1, 6), (1, 48), 1.0),
    (2, (6, 7), (24, 35), 0.0),
    (2, (20, 24), (7, 5), 1.5),
    (1, (40, 3), (17, 33), 6.0),
    (0, (4, 4), (8, 8), 4.0),
]


def scores(*shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(7).gamma(2.0, 3.0, shape).astype(np.float32)


@pytest.mark.parametrize(("N", "grid", "size", "sigma"), CASES)
def test_bit_equal_to_the_cpu(
    N: int, grid: tuple[int, int], size: tuple[int, int], sigma: float
) -> None:
    patch_scores = scores(N, *grid)
    ours = cuda.anomaly_map(patch_scores, size=size, sigma=sigma)
    assert_bit_equal(ours, ops.anomaly_map(patch_scores, size=size, sigma=sigma), "on the device")


def test_device_arrays_are_used_where_they_lie() -> None:
    patch_scores = scores(3, 14, 13)
    size = (112, 100)
    on_device = cuda.DeviceArray.from_numpy(patch_scores)
    poison = np.full((3, *size), np.nan, np.float32)
    out = (cuda.DeviceArray.from_numpy(poison), cuda.DeviceArray.from_numpy(poison[:, 0, 0]))
    workspace = cuda.anomaly_map_workspace(5, size=size)
    expected = ops.anomaly_map(patch_scores, size=size)
    for _ in range(2):  # the second call finds a used workspace
        maps, maxima = cuda.anomaly_map(on_device, size=size, out=out, workspace=workspace)
        assert (maps, maxima) == out
        assert_bit_equal((maps.numpy(), maxima.numpy()), expected, "on the device")
    made = cuda.anomaly_map(on_device, size=size)
    assert_bit_equal((made[0].numpy(), made[1].numpy()), expected, "on the device")


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_scores_that_are_not_finite_do_not_pass_unseen(bad: float) -> None:
    patch_scores = scores(3, 9, 8)
    patch_scores[1, 4, 5] = bad
    with pytest.raises(ValueError, match=r"\[anomaly_map\] expected finite patch_scores"):
        cuda.anomaly_map(patch_scores, size=(40, 37))
    on_device = cuda.DeviceArray.from_numpy(patch_scores)
    _, maxima = cuda.anomaly_map(on_device, size=(40, 37))
    assert np.isfinite(maxima.numpy()).tolist() == [True, False, True]


def test_refuses_with_a_sentence() -> None:
    patch_scores = scores(1, 4, 4)
    small = cuda.anomaly_map_workspace(1, size=(8, 8))
    with pytest.raises(
        ValueError, match=r"workspace of at least 196 bytes, 16-byte aligned, got 4\. Make it"
    ):
        cuda.anomaly_map(patch_scores, size=(100, 200), workspace=small)
    with pytest.raises(ValueError, match=r"size as \(H, W\).* got \(0, 8\)"):
        cuda.anomaly_map(patch_scores, size=(0, 8))
    with pytest.raises(ValueError, match=r"sigma of 0 to 256 pixels, got -1"):
        cuda.anomaly_map(patch_scores, size=(8, 8), sigma=-1)
    out = (cuda.DeviceArray((1, 8, 9), np.float32), cuda.DeviceArray((1,), np.float32))
    with pytest.raises(ValueError, match=r"out\[0\] of shape \(1, 8, 8\), got \(1, 8, 9\)"):
        cuda.anomaly_map(patch_scores, size=(8, 8), out=out)
    with pytest.raises(TypeError, match="float64"):
        cuda.anomaly_map(patch_scores.astype(np.float64), size=(8, 8))
