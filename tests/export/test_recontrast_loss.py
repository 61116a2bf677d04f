"""ReContrast's loss, hard mining and schedules against slow float64 forms and hand-made values."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from pyad_edge.export.methods.recontrast.loss import (  # noqa: E402
    global_cosine_distance,
    mine,
    point_distances,
    recontrast_loss,
)
from pyad_edge.export.methods.recontrast.schedule import alpha_at, forgets_at  # noqa: E402


def pair(seed=0, shape=(3, 5, 4, 6)):
    rng = np.random.default_rng(seed)
    return [torch.from_numpy(rng.normal(size=shape)) for _ in range(2)]


def slow_point_distances(a, b):
    """Eq. 1, position by position."""
    N, _, h, w = a.shape
    d = np.empty((N, h, w))
    for n, i, j in np.ndindex(N, h, w):
        x, y = a[n, :, i, j], b[n, :, i, j]
        d[n, i, j] = 1 - x @ y / (np.sqrt(x @ x) * np.sqrt(y @ y))
    return d


def slow_global(a, b):
    """Eq. 3 at one level, picture by picture."""
    values = [
        1 - x.ravel() @ y.ravel() / np.linalg.norm(x) / np.linalg.norm(y)
        for x, y in zip(a, b, strict=True)
    ]
    return float(np.mean(values))


def test_point_distances_are_equation_1():
    a, b = pair()
    expected = slow_point_distances(a.numpy(), b.numpy())
    np.testing.assert_allclose(point_distances(a, b).numpy(), expected, rtol=1e-12)


def test_global_distance_is_equation_3():
    a, b = pair(1)
    assert global_cosine_distance(a, b).item() == pytest.approx(slow_global(a.numpy(), b.numpy()))


def test_no_gradient_reaches_the_target():
    a, b = pair(2)
    a.requires_grad_()
    b.requires_grad_()
    global_cosine_distance(a, b).backward()
    assert a.grad is None
    assert b.grad.abs().sum() > 0


def test_gradient_is_that_of_finite_differences():
    a, b = pair(3, (2, 3, 2, 2))
    b.requires_grad_()
    global_cosine_distance(a, b).backward()
    step = 1e-6
    for place in np.ndindex(*b.shape):
        moved = [b.detach().clone() for _ in range(2)]
        moved[0][place] += step
        moved[1][place] -= step
        up, down = (slow_global(a.numpy(), m.numpy()) for m in moved)
        assert b.grad[place].item() == pytest.approx((up - down) / (2 * step), abs=1e-8)


@pytest.mark.parametrize("alpha", [-3.0, -0.5, 0.0, 1.0])
def test_mining_stops_the_gradient_of_easy_points_and_no_other(alpha):
    a, b = pair(4)
    b.requires_grad_()
    plain = torch.autograd.grad(global_cosine_distance(a, b), b)[0]
    mined_map = mine(a, b, alpha=alpha)
    assert torch.equal(mined_map, b)
    mined = torch.autograd.grad(global_cosine_distance(a, mined_map), b)[0]
    d = slow_point_distances(a.numpy(), b.detach().numpy())
    hard = d >= d.mean() + alpha * d.std(ddof=1)
    assert hard.any()
    assert alpha == -3.0 or not hard.all()
    # The global norm still contains the easy points: hard ones have the unmined gradient.
    np.testing.assert_array_equal(mined.numpy(), plain.numpy() * hard[:, None])


def test_mining_by_hand():
    """Four points with distances 0, 0, 0 and 1: mu = 1/4, sigma = 1/2; only the last is hard."""
    a = torch.zeros(1, 2, 1, 4, dtype=torch.float64)
    a[:, 0] = 1
    b = a.clone()
    b[0, :, 0, 3] = torch.tensor([0.0, 1.0])
    b.requires_grad_()
    loss = global_cosine_distance(a, mine(a, b, alpha=1.0))
    assert loss.item() == pytest.approx(1 - 3 / 4)
    loss.backward()
    # d(-cos)/db = -(a / (|a||b|) - cos b / |b|^2), |a| = |b| = 2, cos = 3/4
    expected = torch.zeros_like(a)
    expected[0, :, 0, 3] = torch.tensor([-1 / 4, 3 / 16])
    torch.testing.assert_close(b.grad, expected)


def test_loss_is_the_mean_of_two_views_of_sums_over_levels():
    maps = [pair(seed, (2, 4, 3, 3)) for seed in range(6)]
    targets, outputs = ([m[k] for m in maps] for k in range(2))
    expected = sum(slow_global(a.numpy(), b.numpy()) for a, b in maps) / 2
    found = recontrast_loss(targets, outputs, alpha=1.0)
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(expected, rel=1e-6)


def test_alpha_rises_over_the_first_tenth_and_stays():
    assert [alpha_at(i, 2000) for i in (0, 50, 100, 200, 201, 1999)] == [-3, -2, -1, 1, 1, 1]
    assert alpha_at(1, 20) == -1
    assert alpha_at(0, 1) == -3
    assert [alpha_at(i, 400, rise=1.0) for i in (0, 100, 200, 300)] == [-3, -2, -1, 0]


def test_moments_are_forgotten_every_500_iterations():
    assert [i for i in range(1600) if forgets_at(i)] == [500, 1000, 1500]
    assert not any(forgets_at(i, every=0) for i in range(1600))
