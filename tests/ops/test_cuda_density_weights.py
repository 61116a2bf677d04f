from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from pyad_edge import ops
from pyad_edge.ops import cuda

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(cuda.device_count() == 0, reason="no CUDA device here"),
]

CASES = [  # q, Q, D, beta
    (1, 1, 1, 1.0),
    (0, 40, 3, 1.0),
    (63, 33, 3, 5.0),
    (65, 512, 64, 41.0),
    (130, 513, 65, 100.0),
    (20, 1100, 130, 1000.0),
]


def rows(seed: int, *shape: int) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    values = rng.normal(size=shape) + rng.normal(size=(1, shape[1]))
    values[::7] = 0
    return values.astype(np.float32)


@pytest.mark.parametrize(("q", "Q", "D", "beta"), CASES)
def test_bit_equal_to_the_cpu(q: int, Q: int, D: int, beta: float) -> None:
    features, queue = rows(0, q, D), rows(1, Q, D)
    ours = cuda.density_weights(features, queue, beta=beta)
    np.testing.assert_array_equal(ours, ops.density_weights(features, queue, beta=beta))


def test_device_arrays_are_used_where_they_lie() -> None:
    features, queue = rows(2, 70, 20), rows(3, 300, 20)
    on_device = [cuda.DeviceArray.from_numpy(array) for array in (features, queue)]
    out = cuda.DeviceArray.from_numpy(np.full(70, np.nan, np.float32))
    workspace = cuda.density_weights_workspace(100, 300, 20)
    expected = ops.density_weights(features, queue, beta=9.0)
    for _ in range(2):  # the second call finds a used workspace
        made = cuda.density_weights(*on_device, beta=9.0, out=out, workspace=workspace)
        assert made is out
        np.testing.assert_array_equal(out.numpy(), expected)
    made = cuda.density_weights(*on_device, beta=9.0)
    np.testing.assert_array_equal(made.numpy(), expected)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_not_finite_do_not_pass_unseen(bad: float) -> None:
    features, queue = rows(4, 9, 8), rows(5, 50, 8)
    features[4, 5] = bad
    with pytest.raises(ValueError, match=r"\[density_weights\] features contains NaN"):
        cuda.density_weights(features, queue, beta=2.0)
    on_device = [cuda.DeviceArray.from_numpy(array) for array in (features, queue)]
    weights = cuda.density_weights(*on_device, beta=2.0).numpy()
    assert np.flatnonzero(np.isnan(weights)).tolist() == [4]
    weights = cuda.density_weights(on_device[1], on_device[0], beta=2.0).numpy()
    assert np.isnan(weights).all()


def test_refuses_with_a_sentence() -> None:
    features = rows(6, 4, 3)
    small = cuda.density_weights_workspace(1, 1, 3)
    with pytest.raises(ValueError, match=r"workspace of at least \d+ bytes.*\(4, 1000, 3\)\."):
        cuda.density_weights(features, rows(7, 1000, 3), beta=1.0, workspace=small)
    with pytest.raises(ValueError, match=r"0 < beta <= 1000, got 0"):
        cuda.density_weights(features, features, beta=0)
    with pytest.raises(ValueError, match=r"queue of shape \(Q, 3\).*got \(4, 2\)"):
        cuda.density_weights(features, np.ones((4, 2), np.float32), beta=1.0)
    with pytest.raises(TypeError, match="float64"):
        cuda.density_weights(features.astype(np.float64), features, beta=1.0)
