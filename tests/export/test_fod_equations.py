"""FOD's equations against slow, literal forms: NumPy, float64, loops."""

from __future__ import annotations

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("timm")

from fod_parts import one_thread, pictures, small_model  # noqa: E402, F401

from pyad_edge.errors import SettingError  # noqa: E402
from pyad_edge.export.methods.fod import statistics  # noqa: E402
from pyad_edge.export.methods.fod.attention import Block  # noqa: E402
from pyad_edge.export.methods.fod.loss import branch_weights, reconstruction_errors  # noqa: E402
from pyad_edge.export.methods.fod.model import positions  # noqa: E402
from pyad_edge.export.methods.fod.scoring import level_scores, model_map  # noqa: E402
from pyad_edge.export.methods.fod.settings import make_settings  # noqa: E402
from pyad_edge.export.methods.fod.statistics import EPS, Weights, row_statistics  # noqa: E402
from pyad_edge.export.methods.fod.targets import sigmas_of, target_correlation  # noqa: E402
from pyad_edge.ops import correlation_divergence  # noqa: E402

GRID = (3, 5)
L = GRID[0] * GRID[1]


def parts(N=2, heads=2, d=4, *, shared=False, seed=0):
    rng = np.random.default_rng(seed)
    q = rng.normal(size=(N, heads, L, d))
    k = rng.normal(size=(heads, L, d) if shared else (N, heads, L, d))
    sigmas = rng.uniform(0.3, 2.0, (2, N, heads, L))
    return [torch.tensor(a, dtype=torch.float32) for a in (q, k, *sigmas)]


def slow_target(sigma_x, sigma_y):
    """Eq. 5 of one patch after another, the axes with spreads of their own; rows sum to 1."""
    target = np.zeros((L, L))
    for i in range(L):
        for j in range(L):
            y, x = divmod(i, GRID[1])
            v, u = divmod(j, GRID[1])
            target[i, j] = (1 / (2 * math.pi * sigma_x[i] * sigma_y[i])) * math.exp(
                -((x - u) ** 2) / (2 * sigma_x[i] ** 2) - (y - v) ** 2 / (2 * sigma_y[i] ** 2)
            )
        target[i] /= target[i].sum()
    return target


def slow_statistics(q, k, sigma_x, sigma_y):
    """Eqs. 4, 6 and 7 of one head of one picture: (L,) symmetric KL and (L,) entropies."""
    target, divergence, entropy = slow_target(sigma_x, sigma_y), np.zeros(L), np.zeros(L)
    for i in range(L):
        logits = [float(q[i] @ k[j]) / math.sqrt(q.shape[1]) for j in range(L)]
        total = sum(math.exp(z) for z in logits)
        for j in range(L):
            s, t = math.exp(logits[j]) / total, target[i, j]
            divergence[i] += s * math.log((s + EPS) / (t + EPS))
            divergence[i] += t * math.log((t + EPS) / (s + EPS))
            entropy[i] -= s * math.log(s)
    return divergence, entropy


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("block", [1 << 18, 40])
def test_statistics_are_those_of_the_equations(shared, block, monkeypatch):
    monkeypatch.setattr(statistics, "CPU_BLOCK", block)  # 40: several blocks, some of them short
    q, k, sigma_x, sigma_y = parts(shared=shared)
    found = row_statistics(q, k, sigma_x, sigma_y, grid=GRID, weights=Weights(0.5, -0.25, 2.0))
    N, heads = q.shape[:2]
    divergence, entropy = np.zeros((N, L)), np.zeros((N, L))
    for n in range(N):
        for m in range(heads):
            keys = k[m] if shared else k[n, m]
            one, other = slow_statistics(
                q[n, m].double().numpy(), keys.double().numpy(),
                sigma_x[n, m].double().numpy(), sigma_y[n, m].double().numpy(),
            )  # fmt: skip
            divergence[n] += one / heads
            entropy[n] += other / heads
    np.testing.assert_allclose(found.divergence, divergence, rtol=2e-5)
    np.testing.assert_allclose(found.entropy, entropy, rtol=2e-5)
    expected = (0.5 - 0.25) * divergence.mean() + 2.0 * entropy.mean()
    assert float(found.loss) == pytest.approx(expected, rel=2e-5)


def test_some_rows_are_those_rows():
    q, k, sigma_x, sigma_y = parts()
    rows = torch.tensor([0, 4, 9])
    whole = row_statistics(q, k, sigma_x, sigma_y, grid=GRID, weights=Weights())
    some = row_statistics(q, k, sigma_x, sigma_y, grid=GRID, weights=Weights(), rows=rows)
    torch.testing.assert_close(some.divergence, whole.divergence[:, rows])
    torch.testing.assert_close(some.entropy, whole.entropy[:, rows])


@pytest.mark.parametrize("shared", [False, True])
def test_gradients_are_differences_of_the_loss(shared):
    """Each term moves what its phase leaves free, by central differences of the slow form."""
    inputs = parts(1, 1, 3, shared=shared, seed=3)
    grads = {}
    for name, weights in (
        ("target", Weights(target=1.0)),
        ("correlation", Weights(correlation=1.0)),
        ("entropy", Weights(entropy=1.0)),
    ):
        own = [t.clone().requires_grad_() for t in inputs]
        (3 * row_statistics(*own, grid=GRID, weights=weights).loss).backward()
        grads[name] = [t.grad.numpy() / 3 for t in own]

    def value(which, *arrays):
        q, k, sx, sy = (a.double().numpy().reshape(-1, a.shape[-1]) for a in arrays)
        divergence, entropy = slow_statistics(q, k, sx[0], sy[0])
        return entropy.mean() if which == "entropy" else divergence.mean()

    free = {"target": (2, 3), "correlation": (0, 1), "entropy": (0, 1)}
    for name, found in grads.items():
        for place in range(4):
            if place not in free[name]:
                assert not found[place].any()
                continue
            for index in ((0, 0), (-1, -1), (1, 0)):
                at = (0,) * (inputs[place].dim() - 2) + index
                if place > 1:
                    at = (0, 0, index[0])
                sides = []
                for step in (1e-3, -1e-3):
                    moved = [t.double().clone() for t in inputs]
                    moved[place][at] += step
                    sides.append(value(name, *moved))
                slope = (sides[0] - sides[1]) / 2e-3
                assert found[place][at] == pytest.approx(slope, rel=2e-3, abs=2e-6), (name, at)


def test_both_phases_in_one_pass_give_the_gradients_of_two():
    """Eq. 13: two backward passes that accumulate, with stopped gradients spelled out."""
    settings = make_settings(lambda_divergence=0.5, lambda_entropy=0.3)
    inputs = parts(1, 2, 3, seed=5)

    def literal(tensors, sign):
        q, k, sx, sy = tensors
        s = torch.softmax(q @ k.transpose(-1, -2) / math.sqrt(3), -1)
        t = target_correlation(sx, sy, grid=GRID)

        def div(t, s):
            return ((s - t) * (torch.log(s + EPS) - torch.log(t + EPS))).sum(-1).mean()

        first = sign * 0.5 * div(t, s.detach())
        second = -sign * 0.5 * div(t.detach(), s) + sign * 0.3 * (s * s.log()).sum(-1).mean()
        return first, second

    for sign, weights in zip((1, -1), branch_weights(settings), strict=True):
        two = [t.clone().requires_grad_() for t in inputs]
        for loss in literal(two, sign):
            loss.backward(retain_graph=True)
        one = [t.clone().requires_grad_() for t in inputs]
        row_statistics(*one, grid=GRID, weights=weights).loss.backward()
        for a, b in zip(one, two, strict=True):
            torch.testing.assert_close(a.grad, b.grad, rtol=1e-4, atol=1e-7)
        phases = [branch_weights(settings, phase=p)[0 if sign == 1 else 1] for p in (1, 2)]
        assert all(
            getattr(weights, name) == sum(getattr(p, name) for p in phases)
            for name in ("target", "correlation", "entropy")
        )


def test_statistics_are_the_kernels():
    """What training means by divergence is what engines compute."""
    q, k, sigma_x, sigma_y = parts(shared=True)
    found = row_statistics(q, k, sigma_x, sigma_y, grid=GRID, weights=Weights()).divergence
    divergence, _ = correlation_divergence(
        *(t.numpy() for t in (q, k, sigma_x, sigma_y)), grid=GRID
    )
    np.testing.assert_allclose(found, divergence, rtol=1e-5)


def test_spreads_lie_between_nothing_and_two_patches():
    raw = torch.tensor([-100.0, 0.0, 0.3, 100.0])
    expected = [3 ** (1 / (1 + math.exp(-5 * float(r))) + 1e-5) - 1 for r in raw]
    np.testing.assert_allclose(sigmas_of(raw), expected, rtol=1e-5, atol=1e-7)
    assert float(sigmas_of(raw).min()) > 0


def test_positions_are_sines_and_cosines_of_both_axes():
    width = 8
    found = positions(GRID, width).numpy()
    for i in range(L):
        y, x = divmod(i, GRID[1])
        for half, place in ((0, x), (1, y)):
            for c in range(2):
                rate = 1e4 ** (-2 * c / (width / 2))
                assert found[i, half * 4 + 2 * c] == pytest.approx(math.sin(place * rate), abs=1e-6)
                assert found[i, half * 4 + 2 * c + 1] == pytest.approx(
                    math.cos(place * rate), abs=1e-6
                )


def test_reconstruction_error_is_mean_square_and_angle():
    x, y = torch.randn(2, 3, 7), torch.randn(2, 3, 7)
    found = reconstruction_errors(x, y).numpy()
    for n in range(2):
        for i in range(3):
            a, b = x[n, i].double().numpy(), y[n, i].double().numpy()
            cosine = sum(a * b) / math.sqrt(sum(a * a)) / math.sqrt(sum(b * b))
            assert found[n, i] == pytest.approx(((a - b) ** 2).mean() + 1 - cosine, rel=1e-5)


@pytest.mark.parametrize("skip", ["paper", "code"])
def test_a_block_is_equations_1_and_2(skip):
    """Z = LN(intra - inter + X), X' = LN(FF(Z) + Z); the public code leaves X out of Z."""
    torch.manual_seed(1)
    block = Block(8, 2, intra=True, inter=True, skip=skip).double()
    x, reference = torch.randn(1, L, 8).double(), torch.randn(L, 8).double()
    out = block(x, reference, grid=GRID, intra=None, inter=None).x

    def attention(branch, own, other):
        z = np.zeros((L, 8))
        q, k, v = (
            layer(t).detach().numpy()
            for layer, t in ((branch.query, own), (branch.key, other), (branch.value, other))
        )
        for head in (slice(0, 4), slice(4, 8)):
            for i in range(L):
                share = np.exp([q[i, head] @ k[j, head] / 2 for j in range(L)])
                z[i, head] = share / share.sum() @ v[:, head]
        return torch.from_numpy(z)

    z = attention(block.intra, x[0], x[0]) - attention(block.inter, x[0], reference)
    z = block.norm(z + x[0] if skip == "paper" else z)
    expected = block.feed_norm(block.feed(z) + z)
    torch.testing.assert_close(out[0], expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("score", ["rec", "div", "rec*div"])
def test_scores_are_equation_12(score):
    model, _ = small_model()
    features, outputs = model(pictures(2, seed=4))
    for own, output in zip(features, outputs, strict=True):
        found = level_scores(own, output, score).detach().numpy()
        errors = reconstruction_errors(own, output.reconstruction).detach().double().numpy()
        divergence = sum(layer.divergence.double().numpy() for layer in output.inter) / 2
        for n in range(2):
            share = np.exp(-divergence[n]) / np.exp(-divergence[n]).sum()
            expected = {
                "rec": errors[n],
                "div": divergence[n],
                "rec*div": errors[n] * (share.max() - share),
            }[score]
            np.testing.assert_allclose(found[n], expected, rtol=1e-4, atol=1e-6 * expected.max())
    maps, maxima = model_map(model, pictures(1).numpy(), score, sigma=4.0)
    assert maps.shape == (1, 64, 96)
    assert maxima[0] == maps.max() > 0


def test_another_size_is_refused_in_words():
    model, _ = small_model()
    with pytest.raises(SettingError, match=r"trained on 8 x 12 patches .* of 64 patches would"):
        model(torch.zeros(1, 3, 64, 64))
