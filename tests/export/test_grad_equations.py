"""Equations 1 to 6 against literal float64 loops, and the queue's order."""

from __future__ import annotations

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from pyad_edge.errors import SettingError  # noqa: E402
from pyad_edge.export.methods.grad import regularisation as reg  # noqa: E402
from pyad_edge.export.methods.grad import reweighting as rew  # noqa: E402


def similarity(a, b):
    lengths = math.sqrt(sum(v * v for v in a)) * math.sqrt(sum(v * v for v in b))
    return sum(p * q for p, q in zip(a, b, strict=True)) / lengths if lengths else 0.0


def density_weight(feature, queue, beta):
    return 1.0 / sum(math.exp(beta * similarity(z, feature)) for z in queue)


@pytest.mark.parametrize("beta", [0.5, 10.0, 100.0])
def test_density_weights_are_equation_1_to_a_millionth(beta):
    rng = np.random.default_rng(1)
    features = rng.standard_normal((5, 17)).astype(np.float32) * 30
    queue = np.abs(rng.standard_normal((33, 17))).astype(np.float32)
    features[3] = 0  # a dead feature has cosine 0 with everything
    queue[4] = 7 * queue[5]  # length does not matter
    made = rew.log_density_weights(torch.from_numpy(features), torch.from_numpy(queue), beta=beta)
    expected = [
        density_weight(f.astype(np.float64), queue.astype(np.float64), beta) for f in features
    ]
    # Cosines are float32: beyond beta = 10 their rounding shows.
    np.testing.assert_allclose(made.exp().numpy(), expected, rtol=1e-6 if beta <= 10 else 3e-5)


def test_weights_of_long_queues_are_exact_to_a_millionth():
    """As in a training: many features, all positive (after a ReLU), beta 10."""
    rng = np.random.default_rng(2)
    features = np.maximum(rng.standard_normal((64, 128)), 0).astype(np.float32)
    queue = np.maximum(rng.standard_normal((4096, 128)), 0).astype(np.float32)
    x, z = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in
            (features.astype(np.float64), queue.astype(np.float64)))  # fmt: skip
    expected = 1 / np.exp(10 * x @ z.T).sum(1)
    made = rew.log_density_weights(torch.from_numpy(features), torch.from_numpy(queue), beta=10.0)
    np.testing.assert_allclose(made.exp().numpy(), expected, rtol=1e-6)


def test_reweighted_loss_is_equations_2_to_4():
    rng = np.random.default_rng(3)
    near, far = rng.standard_normal((4, 6)), rng.standard_normal((7, 6))
    positive, negative = rng.standard_normal((2, 6)), rng.standard_normal((3, 6))
    p, n = rng.standard_normal(2), rng.standard_normal(3)
    tail_p = [density_weight(z, near, 3.0) for z in positive]
    tail_n = [density_weight(z, far, 3.0) for z in negative]
    noisy = [density_weight(z, near, 3.0) for z in negative]
    both = [a * b for a, b in zip(tail_n, noisy, strict=True)]

    def f(x):
        return 1 / (1 + math.exp(-x))

    expected = -sum(w * math.log(1 - f(x)) for w, x in zip(tail_p, p, strict=True)) / sum(tail_p)
    expected -= sum(w * math.log(f(x)) for w, x in zip(both, n, strict=True)) / sum(both)

    def logs(features, queue):
        made = (torch.from_numpy(v).float() for v in (features, queue))
        return rew.log_density_weights(*made, beta=3.0)

    right = rew.normalised_weights(logs(positive, near))
    wrong = rew.normalised_weights(logs(negative, far), logs(negative, near))
    np.testing.assert_allclose(float(right.sum()), 1.0)
    np.testing.assert_allclose(wrong.numpy(), np.array(both) / sum(both), rtol=1e-6)
    made = rew.reweighted_loss(
        torch.from_numpy(p),
        torch.from_numpy(n),
        positive_weights=right,
        negative_weights=wrong,
    )
    np.testing.assert_allclose(float(made), expected, rtol=1e-6)


def test_fake_anomalies_weigh_less_than_real_ones():
    near = torch.tensor([[1.0, 0.0], [1.0, 0.1]])
    negative = torch.tensor([[1.0, 0.05], [0.0, 1.0]])
    weights = rew.normalised_weights(rew.log_density_weights(negative, near, beta=5.0))
    assert weights[1] > 100 * weights[0]


def test_queue_is_first_in_first_out_and_survives_a_checkpoint():
    queue = rew.FeatureQueue(5, 1)
    assert len(queue.rows) == 0
    queue.push(torch.arange(3.0)[:, None])
    assert sorted(queue.rows.flatten().tolist()) == [0, 1, 2]
    queue.push(torch.arange(3.0, 7.0)[:, None])
    assert sorted(queue.rows.flatten().tolist()) == [2, 3, 4, 5, 6]
    other = rew.FeatureQueue(5, 1)
    other.load_state_dict(queue.state_dict())
    other.push(torch.tensor([[9.0]]))
    assert sorted(other.rows.flatten().tolist()) == [3, 4, 5, 6, 9]
    queue.push(torch.arange(20.0)[:, None])
    assert sorted(queue.rows.flatten().tolist()) == [15, 16, 17, 18, 19]
    with pytest.raises(SettingError, match="at least 1 feature, got 0"):
        rew.FeatureQueue(0, 4)


def test_feature_loss_is_equation_5():
    rng = np.random.default_rng(4)
    c = rng.standard_normal((2, 5, 34, 34)).astype(np.float32)
    e_c = (0.1 * rng.standard_normal((2, 3, 34, 34))).astype(np.float32)
    e_z = (0.1 * rng.standard_normal((2, 3))).astype(np.float32)
    reading = (rng.standard_normal((5 * 34 * 34, 3)) / 50).astype(np.float32)
    writing = rng.standard_normal((3, 5 * 34 * 34)).astype(np.float32)
    expected = 0.0
    for k in range(2):
        noisy = c[k].astype(np.float64)
        noisy[:3] += e_c[k]  # the colours
        z = noisy.ravel() @ reading + e_z[k]
        expected += sum((r - v) ** 2 for r, v in zip(z @ writing, c[k].ravel(), strict=True)) / 2
    made = reg.feature_loss(
        lambda x: x.flatten(1) @ torch.from_numpy(reading),
        lambda z: (z @ torch.from_numpy(writing)).unflatten(1, (5, 34, 34)),
        torch.from_numpy(c),
        input_noise=torch.from_numpy(e_c),
        feature_noise=torch.from_numpy(e_z),
    )
    np.testing.assert_allclose(float(made), expected, rtol=1e-4)


def test_gradient_loss_is_equation_6_and_can_be_descended():
    torch.manual_seed(0)
    weights = torch.randn(20, dtype=torch.float64, requires_grad=True)
    patches = torch.randn(3, 5, 2, 2, dtype=torch.float64)

    def logit(x):
        return (x.double().flatten(1) ** 2) @ weights

    def f(values):
        return 1 / (1 + math.exp(-float((values**2) @ weights.detach().numpy())))

    expected, h = 0.0, 1e-5
    for patch in patches.flatten(1).numpy():
        for index in range(12):  # of 3 x 2 x 2 colours
            up, down = patch.copy(), patch.copy()
            up[index] += h
            down[index] -= h
            expected += ((f(up) - f(down)) / (2 * h)) ** 2 / 3
    made = reg.gradient_loss(logit, patches)
    np.testing.assert_allclose(float(made.detach()), expected, rtol=1e-3)
    made.backward()
    assert weights.grad.abs().sum() > 0


def test_recovery_gives_patches_of_five_channels():
    assert reg.Recovery(12, width=4)(torch.zeros(2, 12)).shape == (2, 5, 34, 34)
