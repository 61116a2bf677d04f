from __future__ import annotations

from typing import Any

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

Array = NDArray[np.float32]
SHAPES = [  # N, heads, h, w, d
    (1, 8, 32, 32, 32),
    (2, 8, 16, 16, 64),
    (2, 3, 7, 9, 5),
    (1, 2, 13, 20, 70),
    (1, 2, 31, 1, 17),
    (1, 1, 96, 96, 8),
    (0, 2, 3, 4, 5),
]


def inputs(
    N: int, heads: int, h: int, w: int, d: int, *, shared: bool = False
) -> tuple[Array, Array, Array, Array]:
    rng = np.random.default_rng(3)
    L = h * w
    queries = rng.standard_normal((N, heads, L, d), np.float32)
    keys = rng.standard_normal((heads, L, d) if shared else (N, heads, L, d), np.float32)
    sigma_x, sigma_y = rng.uniform(0.01, 2.0, (2, N, heads, L)).astype(np.float32)
    return queries, keys, sigma_x, sigma_y


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_bit_equal_to_the_cpu(shape: tuple[int, int, int, int, int], shared: bool) -> None:
    arrays = inputs(*shape, shared=shared)
    expected = ops.correlation_divergence(*arrays, grid=shape[2:4])
    assert_bit_equal(cuda.correlation_divergence(*arrays, grid=shape[2:4]), expected, "from host")


def test_device_arrays_are_used_where_they_lie() -> None:
    arrays = inputs(2, 3, 9, 11, 24)
    on_device = [cuda.DeviceArray.from_numpy(array) for array in arrays]
    poison = np.full((2, 3, 99), np.nan, np.float32)
    out = (cuda.DeviceArray.from_numpy(poison[:, 0]), cuda.DeviceArray.from_numpy(poison))
    expected = ops.correlation_divergence(*arrays, grid=(9, 11), scale=0.5)
    for _ in range(2):
        outputs = cuda.correlation_divergence(*on_device, grid=(9, 11), scale=0.5, out=out)
        assert outputs == out
        assert_bit_equal(tuple(o.numpy() for o in outputs), expected, "into out")
    made = cuda.correlation_divergence(*on_device, grid=(9, 11), scale=0.5)
    assert_bit_equal(tuple(o.numpy() for o in made), expected, "made")


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e38])
def test_what_breaks_the_limits_does_not_pass_unseen(bad: float) -> None:
    q, k, x, y = inputs(2, 2, 6, 7, 12)
    q[1, 1, 30], k[1, 1] = bad, 1e3
    with pytest.raises(ValueError, match=r"finite queries|overflows float32 .first for patch 30"):
        cuda.correlation_divergence(q, k, x, y, grid=(6, 7))
    on_device = [cuda.DeviceArray.from_numpy(array) for array in (q, k, x, y)]
    divergence, _ = cuda.correlation_divergence(*on_device, grid=(6, 7))
    assert np.argwhere(np.isnan(divergence.numpy())).tolist() == [[1, 30]]


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"queries": np.zeros((1, 2, 12, 5))}, TypeError, "queries as a float32 array"),
        ({"keys": np.zeros((1, 12, 5), np.float32)}, ValueError, r"keys of shape .*\(1, 12, 5\)"),
        ({"sigma_y": np.zeros((1, 2, 12), np.float32)}, ValueError, "positive sigma_y, got 0.0"),
        ({"grid": (3, 5)}, ValueError, r"got \(3, 5\)"),
        ({"scale": 0.0}, ValueError, "got 0.0"),
    ],
)
def test_refuses_with_a_sentence(
    changes: dict[str, Any], error: type[Exception], words: str
) -> None:
    names = ("queries", "keys", "sigma_x", "sigma_y")
    arguments: dict[str, Any] = dict(zip(names, inputs(1, 2, 3, 4, 5), strict=True))
    with pytest.raises(error, match=words) as caught:
        cuda.correlation_divergence(**{**arguments, "grid": (3, 4), **changes})
    assert str(caught.value).startswith("[correlation_divergence]")


def test_refuses_a_grid_that_does_not_fit_in_shared_memory() -> None:
    with pytest.raises(ValueError, match=r"h \+ w of at most 384 .*got \(1, 384\)"):
        cuda.correlation_divergence(*inputs(1, 1, 1, 384, 2), grid=(1, 384))
