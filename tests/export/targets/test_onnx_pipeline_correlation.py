"""Correlations inside a graph: the kernel's divergences, in chunks that memory bears."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto
from pipeline_graphs import opened
from pipeline_parts import built, largest_tensor

from pyad_edge.errors import SettingError
from pyad_edge.export.targets.onnx_pipeline import correlation
from pyad_edge.export.targets.onnx_pipeline.correlation import Correlations, divergences
from pyad_edge.export.targets.onnx_pipeline.correlation_head import share_of
from pyad_edge.export.targets.onnx_pipeline.graph import GraphBuilder
from pyad_edge.ops import correlation_divergence

HEADS, DIM, GRID = 3, 5, (7, 6)
L = GRID[0] * GRID[1]


def inputs(*, shared: bool) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    keys = (HEADS, L, DIM) if shared else (2, HEADS, L, DIM)
    sigmas = rng.uniform(0.05, 3, (2, 2, HEADS, L))
    sigmas[0, :, :, :9] = 1e-20  # all weight on the patch itself
    values = {"queries": rng.normal(size=(2, HEADS, L, DIM)), "keys": rng.normal(size=keys)}
    return {name: 2 * v.astype(np.float32) for name, v in values.items()} | {
        "sigmas": sigmas.astype(np.float32)
    }


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("largest", [1, 5 * HEADS * L, 1 << 22])
def test_divergences_are_the_kernels(
    shared: bool, largest: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(correlation, "LARGEST", largest)
    graph = GraphBuilder(17)
    level = Correlations("queries", "keys", shared, "sigmas", HEADS, DIM, GRID)
    name = divergences(graph, level)
    given = inputs(shared=shared)
    model = built(graph, {n: v.shape for n, v in given.items()}, {name: TensorProto.FLOAT})
    (found,) = opened(model).session.run([name], given)
    wanted, _ = correlation_divergence(
        given["queries"], given["keys"], given["sigmas"][:, 0], given["sigmas"][:, 1], grid=GRID
    )
    np.testing.assert_allclose(found, wanted, rtol=2e-5)
    rows = min(L, max(1, largest // (HEADS * L)))
    inherent = max(v.size for v in given.values())
    assert largest_tensor(model) <= max(inherent, 2 * HEADS * L * rows)  # of two pictures


def test_too_many_patches_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(correlation, "LARGEST", 1)
    monkeypatch.setattr(correlation, "MAX_CHUNKS", L - 1)
    level = Correlations("queries", "keys", True, "sigmas", HEADS, DIM, GRID)
    with pytest.raises(SettingError, match=r"7 x 6 patches and 3 heads make 42 chunks"):
        divergences(GraphBuilder(17), level)


def test_shares_that_hardly_differ_keep_their_digits() -> None:
    rng = np.random.default_rng(3)
    divergence = (4 + 1e-3 * rng.random((2, 400))).astype(np.float32)
    graph = GraphBuilder(17)
    name = share_of(graph, "divergence")
    model = built(graph, {"divergence": divergence.shape}, {name: TensorProto.FLOAT})
    (found,) = opened(model).session.run([name], {"divergence": divergence})
    exact = np.exp(divergence.min(axis=1, keepdims=True) - divergence.astype(np.float64))
    exact /= exact.sum(axis=1, keepdims=True)
    wanted = exact.max(axis=1, keepdims=True) - exact
    np.testing.assert_allclose(found, wanted, rtol=2e-6, atol=0)
    single = np.exp(divergence.min(axis=1, keepdims=True) - divergence)
    single /= single.sum(axis=1, keepdims=True)
    naive = single.max(axis=1, keepdims=True) - single
    assert np.abs(naive - wanted).max() > 50 * np.abs(found - wanted).max()
