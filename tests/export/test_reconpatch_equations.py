"""ReConPatch's equations 1 to 8 against slow float64 loops, and hand-computed values."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

torch = pytest.importorskip("torch")

from pyad_edge.export.methods.reconpatch.loss import relaxed_contrastive  # noqa: E402
from pyad_edge.export.methods.reconpatch.model import Branches  # noqa: E402
from pyad_edge.export.methods.reconpatch.similarity import (  # noqa: E402
    contextual,
    pairwise,
    similarity,
    squared_distances,
)

Array = NDArray[np.float64]


def points(N: int, D: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal((N, D))


def slow_distances(z: Array) -> Array:
    return np.array([[math.sqrt(sum((a - b) ** 2)) for b in z] for a in z])


def slow_neighbors(d: Array, k: int) -> list[set[int]]:
    """N_k of eq. 2: everything no farther than the k-th nearest, a patch being its own nearest."""
    return [{j for j in range(len(d)) if d[i, j] <= sorted(d[i])[k - 1]} for i in range(len(d))]


def slow_contextual(d: Array, k: int) -> Array:
    N, near, close = len(d), slow_neighbors(d, k), slow_neighbors(d, max(1, k // 2))
    direct, expanded = np.zeros((N, N)), np.zeros((N, N))
    for i in range(N):
        for j in near[i]:
            direct[i, j] = len(near[i] & near[j]) / len(near[i])
    for i in range(N):
        mutual = [j for j in close[i] if i in close[j]]
        for j in range(N):
            expanded[i, j] = sum(direct[q, j] for q in mutual) / len(mutual)
    return (expanded + expanded.T) / 2


def slow_pairwise(d: Array, bandwidth: float) -> Array:
    N = len(d)
    sigma = bandwidth * sum(d[i, j] ** 2 for i in range(N) for j in range(N) if i != j)
    sigma /= N * (N - 1)
    return np.array([[math.exp(-(d[i, j] ** 2) / sigma) for j in range(N)] for i in range(N)])


def slow_loss(z: Array, w: Array, margin: float) -> float:
    d, total = slow_distances(z), 0.0
    N = len(z)
    for i in range(N):
        mean = sum(d[i, n] for n in range(N)) / N
        for j in range(N):
            delta = d[i, j] / mean
            total += w[i, j] * delta**2 + (1 - w[i, j]) * max(margin - delta, 0.0) ** 2
    return total / N


@pytest.mark.parametrize(("N", "k"), [(12, 2), (23, 5), (40, 7), (9, 9), (30, 20)])
def test_contextual_similarity_is_equations_2_to_5(N: int, k: int) -> None:
    z = points(N, 3, seed=k)
    found = contextual(squared_distances(torch.from_numpy(z)), k).numpy()
    np.testing.assert_allclose(found, slow_contextual(slow_distances(z), k), atol=1e-12)


def test_of_fewer_patches_than_neighbours_all_are_neighbours() -> None:
    z = torch.from_numpy(points(4, 3))
    torch.testing.assert_close(
        contextual(squared_distances(z), 4), contextual(squared_distances(z), 4000)
    )


@pytest.mark.parametrize("bandwidth", [0.1, 1.0, 30.0])
def test_pairwise_similarity_is_equation_1(bandwidth: float) -> None:
    z = points(17, 5)
    found = pairwise(squared_distances(torch.from_numpy(z)), bandwidth).numpy()
    np.testing.assert_allclose(found, slow_pairwise(slow_distances(z), bandwidth), rtol=1e-10)


@pytest.mark.parametrize("alpha", [0.0, 0.25, 1.0])
def test_similarity_is_equation_6(alpha: float) -> None:
    z = points(21, 4)
    d = slow_distances(z)
    expected = alpha * slow_pairwise(d, 0.7) + (1 - alpha) * slow_contextual(d, 5)
    found = similarity(torch.from_numpy(z), k=5, alpha=alpha, bandwidth=0.7)
    assert not found.requires_grad
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-12)
    np.testing.assert_allclose(found.numpy(), found.numpy().T, atol=1e-12)


def test_two_far_groups_share_no_neighbours() -> None:
    """Six patches, three here and three there: each group's three are one another's nearest."""
    z = torch.tensor([[0.0], [1.0], [2.1], [100.0], [101.0], [102.1]], dtype=torch.float64)
    found = contextual(squared_distances(z), 3)
    torch.testing.assert_close(found, torch.block_diag(*[torch.ones(3, 3).double()] * 2))


@pytest.mark.parametrize("margin", [0.5, 1.0, 2.0])
def test_loss_is_equation_7(margin: float) -> None:
    z, w = points(15, 4), np.random.default_rng(1).uniform(size=(15, 15))
    found = relaxed_contrastive(torch.from_numpy(z), torch.from_numpy(w), margin=margin)
    assert float(found) == pytest.approx(slow_loss(z, w, margin), rel=1e-12)


def test_loss_by_hand() -> None:
    """Two patches 3 apart: the row's mean distance is 1.5, so delta is 2 off and 0 on the diagonal.

    w = 0.25 off the diagonal: 0.25 * 4 + 0.75 * max(2.5 - 2, 0)^2 = 1.1875 a row; on it, w = 1: 0.
    """
    w = torch.tensor([[1.0, 0.25], [0.25, 1.0]])
    found = relaxed_contrastive(torch.tensor([[0.0], [3.0]]), w, margin=2.5)
    assert float(found) == pytest.approx(1.1875)


def test_gradient_of_the_loss_by_finite_differences() -> None:
    z = torch.from_numpy(points(7, 3)).requires_grad_()
    w = torch.from_numpy(np.random.default_rng(2).uniform(size=(7, 7)))
    assert torch.autograd.gradcheck(lambda x: relaxed_contrastive(x, w, margin=1.5), z)


def test_equal_patches_have_finite_gradients() -> None:
    z = torch.ones((5, 3), requires_grad=True)
    relaxed_contrastive(z, torch.full((5, 5), 0.5), margin=1.0).backward()
    assert z.grad is not None
    assert torch.isfinite(z.grad).all()


def test_moving_average_by_hand() -> None:
    """Eq. 8 with gamma 0.75, twice: 1 -> 0.75 + 0.25 * 5 = 2 -> 0.75 * 2 + 0.25 * 5 = 2.75."""
    model = Branches(3, dim=2, projection=2)
    fast, slow = [model.f.weight, model.g.weight], list(model.averaged.parameters())
    with torch.no_grad():
        for weight in slow:
            weight.fill_(1.0)
        for weight in fast:
            weight.fill_(5.0)
    for expected in (2.0, 2.75):
        model.average(0.75)
        for weight in slow:
            torch.testing.assert_close(weight, torch.full_like(weight, expected))
    assert all(float(weight.detach().min()) == 5.0 for weight in fast)


def test_branches_begin_equal_and_only_one_learns() -> None:
    model = Branches(6, dim=4, projection=3)
    patches = torch.randn(5, 6)
    torch.testing.assert_close(model(patches), model.averaged(patches))
    model(patches).sum().backward()
    assert model.f.weight.grad is not None
    assert all(p.grad is None for p in model.averaged.parameters())
