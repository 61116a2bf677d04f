from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from ops.harness import check
from ops.strategies import KINDS, seeds, values

from pyad_edge import ops
from pyad_edge.ops._native import native
from pyad_edge.ops.correlation_divergence import DivergencePlan
from pyad_edge.reference.correlation_divergence import (
    correlation_divergence as plain,
)
from pyad_edge.reference.correlation_divergence import target_correlation

Array = NDArray[np.float32]

SHAPES = [  # N, heads, h, w, d
    (1, 8, 16, 16, 32),
    (2, 3, 7, 9, 5),
    (1, 2, 13, 20, 64),
    (3, 1, 1, 33, 1),
    (1, 2, 31, 1, 17),
    (2, 1, 1, 1, 4),
    (1, 1, 5, 48, 3),
]


def inputs(
    N: int, heads: int, h: int, w: int, d: int, *, shared: bool = False, seed: int = 0
) -> tuple[Array, Array, Array, Array]:
    rng = np.random.default_rng(seed)
    L = h * w
    queries = rng.normal(size=(N, heads, L, d))
    keys = rng.normal(size=(heads, L, d) if shared else (N, heads, L, d))
    sigma_x, sigma_y = rng.uniform(0.02, 2.0, (2, N, heads, L))
    made = [array.astype(np.float32) for array in (queries, keys, sigma_x, sigma_y)]
    return made[0], made[1], made[2], made[3]


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_agrees_with_the_reference_in_every_form(
    shape: tuple[int, int, int, int, int], shared: bool
) -> None:
    arrays = inputs(*shape, shared=shared)
    check(ops.correlation_divergence, plain, *arrays, grid=shape[2:4], rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize("shared", [False, True])
def test_agrees_with_torch(shared: bool) -> None:
    torch = pytest.importorskip("torch")
    arrays = inputs(2, 4, 9, 12, 16, shared=shared)
    q, k, sigma_x, sigma_y = (torch.from_numpy(array).double() for array in arrays)
    attention = torch.softmax(0.25 * q @ k.transpose(-1, -2), -1)
    y, x = torch.meshgrid(torch.arange(9), torch.arange(12), indexing="ij")
    dx, dy = (v.flatten()[:, None] - v.flatten() for v in (x, y))
    target = torch.exp(-(dx**2) / (2 * sigma_x[..., None] ** 2))
    target = target * torch.exp(-(dy**2) / (2 * sigma_y[..., None] ** 2))
    target = target / target.sum(-1, keepdim=True)
    per_head = sum(
        (a * (torch.log(a + 1e-4) - torch.log(b + 1e-4))).sum(-1)
        for a, b in ((attention, target), (target, attention))
    )
    divergence, heads = ops.correlation_divergence(*arrays, grid=(9, 12))
    np.testing.assert_allclose(heads, per_head.numpy(), rtol=2e-6)
    np.testing.assert_allclose(divergence, per_head.mean(1).numpy(), rtol=2e-6)


@settings(max_examples=40, deadline=None)
@given(
    st.data(),
    st.integers(1, 2),
    st.integers(1, 2),
    st.integers(1, 9),
    st.sampled_from([1, 2, 7, 15, 16, 17, 33]),
    st.integers(1, 9),
)
def test_every_kind_of_values(
    data: st.DataObject, N: int, heads: int, h: int, w: int, d: int
) -> None:
    kinds = [kind for kind in KINDS if kind != "overflow"]
    L = h * w
    queries = data.draw(values((N, heads, L, d), kinds))
    keys = data.draw(values((N, heads, L, d), kinds))
    if data.draw(st.booleans()):
        keys = np.ascontiguousarray(keys[0])
    rng = np.random.default_rng(data.draw(seeds))
    low, high = data.draw(st.sampled_from([(-45, -30), (-3, 1), (0, 30)]))
    sigmas = (10.0 ** rng.uniform(low, high, (2, N, heads, L))).astype(np.float32)
    sigmas = np.maximum(sigmas, np.float32(1e-45))
    # What rounding in the dot products may do to a logit, and that to a divergence.
    size = float(
        (np.abs(queries).astype(float) @ np.abs(keys).astype(float).swapaxes(-1, -2)).max()
    )
    atol = 1e-5 + 10 * (d + 8) * 2.0**-23 * size / np.sqrt(d)
    check(ops.correlation_divergence, plain, queries, keys, *sigmas, grid=(h, w), atol=atol)


def test_attention_equal_to_the_target_does_not_diverge() -> None:
    # Queries that pick the log-target's rows out of one-hot keys.
    h, w = 4, 5
    sigma_x, sigma_y = np.random.default_rng(1).uniform(0.8, 2.0, (2, 1, 1, h * w))
    sigma_x, sigma_y = sigma_x.astype(np.float32), sigma_y.astype(np.float32)
    queries = np.log(target_correlation(sigma_x, sigma_y, (h, w))).astype(np.float32)
    keys = np.eye(h * w, dtype=np.float32)[None, None]
    divergence, _ = ops.correlation_divergence(
        queries, keys, sigma_x, sigma_y, grid=(h, w), scale=1.0
    )
    assert np.abs(divergence).max() < 1e-9


def test_far_logits_and_tiny_sigmas_have_their_closed_form() -> None:
    # Attention on the next patch, target on the patch itself: both are one-hot.
    L = 6
    queries = 1e3 * np.roll(np.eye(L, dtype=np.float32), 1, axis=1)[None, None]
    keys = np.eye(L, dtype=np.float32)[None, None]
    sigma = np.full((1, 1, L), 1e-30, np.float32)
    divergence, _ = ops.correlation_divergence(queries, keys, sigma, sigma, grid=(2, 3), scale=1.0)
    np.testing.assert_allclose(divergence, 2 * np.log(1.0001 / 0.0001), rtol=1e-6)


def test_batch_and_heads_equal_single_calls_bit_for_bit() -> None:
    q, k, x, y = inputs(3, 2, 6, 11, 12)
    divergence, per_head = ops.correlation_divergence(q, k, x, y, grid=(6, 11))
    assert divergence.shape == (3, 66)
    for n in range(3):
        one = (slice(n, n + 1),)
        alone, _ = ops.correlation_divergence(q[one], k[one], x[one], y[one], grid=(6, 11))
        assert alone.tobytes() == divergence[n].tobytes()
        shared, _ = ops.correlation_divergence(q[one], k[n], x[one], y[one], grid=(6, 11))
        assert shared.tobytes() == divergence[n].tobytes()
        for m in range(2):
            head = (*one, slice(m, m + 1))
            single, _ = ops.correlation_divergence(q[head], k[head], x[head], y[head], grid=(6, 11))
            assert single.tobytes() == per_head[n, m].tobytes()


def test_no_pictures_give_no_rows() -> None:
    divergence, per_head = ops.correlation_divergence(*inputs(0, 2, 3, 4, 5), grid=(3, 4))
    assert divergence.shape == (0, 12)
    assert per_head.shape == (0, 2, 12)


MEMORY = """
import resource
import numpy as np
from pyad_edge import ops
from pyad_edge.ops.correlation_divergence import DivergencePlan
L = 96 * 96
rng = np.random.default_rng(0)
q, k = rng.standard_normal((2, 1, 1, L, 4), np.float32)
sigma = np.ones((1, 1, L), np.float32)
ops.correlation_divergence(q[:, :, :16], k[:, :, :16], *[sigma[..., :16]] * 2, grid=(4, 4))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
ops.correlation_divergence(q, k, sigma, sigma, grid=(96, 96))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in KiB on Linux only")
def test_memory_grows_with_the_patches_not_with_their_square() -> None:
    done = subprocess.run(
        [sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < 128 * 1024  # KiB; one (L, L) float32 tensor takes 331,776


@pytest.mark.parametrize("index", range(4))
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_refuses_values_that_are_not_finite(index: int, bad: float) -> None:
    arrays = inputs(1, 2, 3, 4, 5)
    arrays[index].flat[7] = bad
    name = ("queries", "keys", "sigma_x", "sigma_y")[index]
    with pytest.raises(ValueError, match=rf"\[correlation_divergence\].*finite {name}, got {bad}"):
        ops.correlation_divergence(*arrays, grid=(3, 4))


@pytest.mark.parametrize("sign", [1, -1])
def test_refuses_dot_products_that_overflow(sign: int) -> None:
    q, k, x, y = inputs(2, 2, 3, 4, 5)
    q[1, 0, 4], k[1, 0] = sign * 1e20, 1e20
    with pytest.raises(ValueError, match=r"overflows float32 .first for patch 4 of picture 1"):
        ops.correlation_divergence(q, k, x, y, grid=(3, 4))


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"queries": np.zeros((1, 2, 12, 5))}, TypeError, "queries as float32, got float64"),
        ({"keys": [1.0]}, TypeError, "keys as float32, got list"),
        ({"queries": np.zeros((2, 12, 5), np.float32)}, ValueError, r"\(2, 12, 5\).*swapaxes"),
        ({"keys": np.zeros((1, 12, 5), np.float32)}, ValueError, r"keys of shape .*\(1, 12, 5\)"),
        ({"keys": np.zeros((1, 2, 12, 4), np.float32)}, ValueError, r"\(1, 2, 12, 4\)"),
        ({"sigma_x": np.ones((1, 2, 1), np.float32)}, ValueError, r"sigma_x.*\(1, 2, 1\)"),
        ({"sigma_y": np.zeros((1, 2, 12), np.float32)}, ValueError, r"got 0.0 at \(0, 0, 0\)"),
        ({"grid": (3, 5)}, ValueError, r"= 12 patches .*got \(3, 5\)"),
        ({"grid": 12}, ValueError, "got 12"),
        ({"grid": (3.5, 4)}, ValueError, r"got \(3.5, 4\)"),
        ({"scale": 0.0}, ValueError, "got 0.0"),
        ({"scale": float("nan")}, ValueError, "got nan"),
        ({"scale": "1"}, ValueError, "got '1'"),
    ],
)
def test_refuses_with_a_sentence(
    changes: dict[str, Any], error: type[Exception], words: str
) -> None:
    names = ("queries", "keys", "sigma_x", "sigma_y")
    arguments: dict[str, Any] = dict(zip(names, inputs(1, 2, 3, 4, 5), strict=True))
    with pytest.raises(error, match=words) as caught:
        ops.correlation_divergence(**{**arguments, "grid": (3, 4), **changes})
    assert str(caught.value).startswith("[correlation_divergence]")


def test_the_native_module_refuses_a_grid_whose_product_overflows() -> None:
    """2^32 times 2^32 is 0 in 64 bits, and so is the number of patches."""
    none = np.empty((1, 1, 0, 4), np.float32)
    each, out = np.empty((1, 1, 0), np.float32), np.empty((1, 0), np.float32)
    scratch = np.empty(64, np.float32)
    with pytest.raises(ValueError, match="fit queries and the grid"):
        native.correlation_divergence(none, none, each, each, 2**32, 2**32, 0.5, scratch, each, out)


@pytest.mark.parametrize("shared", [False, True])
def test_a_plan_writes_what_the_function_returns(shared: bool) -> None:
    arrays = inputs(1, 3, 4, 6, 5, shared=shared)
    plan = DivergencePlan((4, 6), heads=3, d=5, shared=shared)
    per_head, divergence = (np.full(s, np.nan, np.float32) for s in ((1, 3, 24), (1, 24)))
    memory = {"per_head": per_head, "divergence": divergence}
    plan.write(*arrays, scratch=np.empty(plan.scratch, np.float32), **memory)
    expected = ops.correlation_divergence(*arrays, grid=(4, 6))
    np.testing.assert_array_equal(divergence, expected[0])
    np.testing.assert_array_equal(per_head, expected[1])
    queries, _, sigma_x, sigma_y = arrays
    with pytest.raises(ValueError, match="the same for all" if shared else "of the picture, got"):
        plan.write(
            queries, None, sigma_x, sigma_y, scratch=np.empty(plan.scratch, np.float32), **memory
        )
