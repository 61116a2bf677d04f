"""PatchDiff: what it sees, its loss and its samplers, each against a literal form."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from pyad_edge.errors import SettingError  # noqa: E402
from pyad_edge.export.methods.grad import diffusion as d  # noqa: E402
from pyad_edge.export.methods.grad.unet import REACHES, PatchUNet, time_embedding  # noqa: E402


def open_paths(network):
    """Give weights that let every path through."""
    torch.manual_seed(0)
    for weights in network.parameters():
        torch.nn.init.uniform_(weights, 0.1, 0.5)
    return network


@pytest.mark.parametrize("reach", REACHES)
@pytest.mark.parametrize("pixel", [(14, 17), (13, 20)])
def test_receptive_field_is_n_by_n_around_every_pixel(reach, pixel):
    network = open_paths(PatchUNet(reach, width=8))
    noisy = torch.rand(1, 3, 31, 37, requires_grad=True)
    where = torch.rand(1, 2, 31, 37, requires_grad=True)
    noise = network(noisy, where, torch.tensor([5]))
    assert noise.shape == (1, 3, 31, 37)
    noise[0, 1, pixel[0], pixel[1]].backward()
    half = reach // 2
    expected = np.zeros((31, 37), bool)
    expected[pixel[0] - half : pixel[0] + half + 1, pixel[1] - half : pixel[1] + half + 1] = True
    for inputs in (noisy, where):
        assert ((inputs.grad[0].abs().sum(0).numpy() > 0) == expected).all()


def test_other_receptive_fields_are_refused():
    with pytest.raises(SettingError, match="out of 5, 9, 13, 17 pixels, got 7"):
        PatchUNet(7)


def test_time_embedding_is_sines_and_cosines():
    made = time_embedding(torch.tensor([0, 7]), 8).numpy()
    rates = 10_000.0 ** (-np.arange(4) / 3)
    np.testing.assert_allclose(made[1], [*np.sin(7 * rates), *np.cos(7 * rates)], atol=1e-6)
    np.testing.assert_allclose(made[0], [0] * 4 + [1] * 4, atol=1e-7)


def schedule():
    betas = np.linspace(1e-4, 0.01, 1000)
    kept, product = [], 1.0
    for beta in betas:
        product *= 1 - beta
        kept.append(product)
    return betas, np.array(kept)


def test_schedule_is_ddpms():
    betas, kept = schedule()
    made = d.Schedule()
    np.testing.assert_allclose(made.betas.numpy(), betas, rtol=1e-6)
    np.testing.assert_allclose(made.kept.numpy(), kept, rtol=1e-6)


def test_loss_is_the_papers():
    rng = np.random.default_rng(1)
    N, H, W = 2, 3, 5
    x, noise = rng.uniform(-1, 1, (N, 3, H, W)), rng.standard_normal((N, 3, H, W))
    where, drift = rng.uniform(-1, 1, (N, 2, H, W)), 0.05 * rng.standard_normal((N, 3, 1, 1))
    steps = np.array([3, 700])

    def denoiser(noisy, where, steps):
        return 0.3 * noisy + where.sum(1, keepdim=True) + 0.001 * steps[:, None, None, None]

    _, kept = schedule()
    total = 0.0
    for n in range(N):
        for c in range(3):
            for i in range(H):
                for j in range(W):
                    a = kept[steps[n]]
                    noisy = a**0.5 * x[n, c, i, j] + (1 - a) ** 0.5 * noise[n, c, i, j]
                    noisy += drift[n, c, 0, 0]
                    found = 0.3 * noisy + where[n, 0, i, j] + where[n, 1, i, j] + 0.001 * steps[n]
                    total += (noise[n, c, i, j] - found) ** 2
    tensors = [torch.from_numpy(v).float() for v in (x, where, noise, drift)]
    made = d.patchdiff_loss(
        denoiser,
        tensors[0],
        tensors[1],
        schedule=d.Schedule(),
        steps=torch.from_numpy(steps),
        noise=tensors[2],
        global_noise=tensors[3],
    )
    np.testing.assert_allclose(float(made), total / (N * 3 * H * W), rtol=1e-5)


def fake(noisy, where, steps):
    return torch.tanh(noisy) * 0.8 + 0.1 * where[:, :1] + 1e-4 * steps[:, None, None, None]


def test_ddim_is_the_literal_form():
    where = torch.rand(2, 2, 3, 4)
    made = d.sample(
        fake, where, schedule=d.Schedule(), steps=4, generator=torch.Generator().manual_seed(5)
    )
    x = torch.randn(2, 3, 3, 4, generator=torch.Generator().manual_seed(5)).double().numpy()
    _, kept = schedule()
    w, times = where.double().numpy(), [999, 666, 333, 0]
    for index, t in enumerate(times):
        before = kept[times[index + 1]] if index < 3 else 1.0
        noise = np.tanh(x) * 0.8 + 0.1 * w[:, :1] + 1e-4 * t
        picture = np.clip((x - (1 - kept[t]) ** 0.5 * noise) / kept[t] ** 0.5, -1, 1)
        noise = (x - kept[t] ** 0.5 * picture) / (1 - kept[t]) ** 0.5
        x = before**0.5 * picture + (1 - before) ** 0.5 * noise
    np.testing.assert_allclose(made.numpy(), np.clip(x, -1, 1), atol=2e-5)


def test_ddpm_is_the_literal_form():
    where = torch.rand(1, 2, 2, 3)
    told = []
    made = d.sample(
        fake,
        where,
        schedule=d.Schedule(),
        sampler="ddpm",
        generator=torch.Generator().manual_seed(6),
        told=told.append,
    )
    assert told == list(range(1, 1001))
    random = torch.Generator().manual_seed(6)
    x = torch.randn(1, 3, 2, 3, generator=random).double().numpy()
    betas, kept = schedule()
    w = where.double().numpy()
    for t in range(999, -1, -1):
        before = kept[t - 1] if t else 1.0
        noise = np.tanh(x) * 0.8 + 0.1 * w[:, :1] + 1e-4 * t
        picture = np.clip((x - (1 - kept[t]) ** 0.5 * noise) / kept[t] ** 0.5, -1, 1)
        first = before**0.5 * betas[t] / (1 - kept[t])
        second = (1 - betas[t]) ** 0.5 * (1 - before) / (1 - kept[t])
        x = first * picture + second * x
        if t:
            fresh = torch.randn(1, 3, 2, 3, generator=random).double().numpy()
            x = x + betas[t] ** 0.5 * fresh
    np.testing.assert_allclose(made.numpy(), np.clip(x, -1, 1), atol=2e-3)


@pytest.mark.parametrize("sampler", ["ddim", "ddpm"])
def test_grey_is_generated_as_one_channel(sampler):
    """As by a denoiser of one channel, the mean of what this one finds in its three."""
    tint = torch.tensor([0.5, 1.0, 1.5])[:, None, None]

    def tinted(noisy, where, steps):
        assert torch.equal(noisy, noisy[:, :1].expand_as(noisy))
        return tint * fake(noisy, where, steps)

    known = torch.zeros(2, 1, 3, 4, dtype=torch.bool)
    known[..., :2] = True
    picture = (torch.rand(2, 1, 3, 4) - 0.5).expand(2, 3, 3, 4)
    where, made = torch.rand(2, 2, 3, 4), {}
    for name, denoiser in (("tinted", tinted), ("plain", fake)):
        made[name] = d.sample(
            denoiser,
            where,
            schedule=d.Schedule(),
            sampler=sampler,
            steps=5,
            generator=torch.Generator().manual_seed(8),
            known=(picture, known),
            grey=True,
        )
    assert torch.equal(made["tinted"], made["tinted"][:, :1].expand(2, 3, 3, 4))
    np.testing.assert_allclose(made["tinted"], made["plain"], atol=1e-5)


def test_noise_of_grey_pictures_is_grey_and_of_deviation_one():
    generator = torch.Generator().manual_seed(9)
    noise = d.channels(4, 32, 33, grey=True, generator=generator)
    assert torch.equal(noise, noise[:, :1].expand(4, 3, 32, 33))
    assert abs(float(noise.std()) - 1) < 0.03
    colours = d.channels(4, 32, 33, grey=False, generator=generator)
    assert float((colours[:, 0] - colours[:, 1]).std()) > 1.3


@pytest.mark.parametrize("steps", [1, 1001])
def test_numbers_of_steps_that_cannot_be_are_refused(steps):
    with pytest.raises(SettingError, match=f"2 to 1000 sampling steps, got {steps}"):
        d.sample(fake, torch.zeros(1, 2, 2, 2), schedule=d.Schedule(), steps=steps)


@pytest.mark.parametrize("sampler", ["ddim", "ddpm"])
def test_what_is_known_stays_and_is_seen_under_each_steps_noise(sampler):
    """The denoiser is shown, at every step, the known half as it is under that step's noise."""
    where, picture = torch.rand(2, 2, 4, 6), torch.rand(2, 3, 4, 6) - 0.5
    known = torch.zeros(2, 1, 4, 6, dtype=torch.bool)
    known[..., :3] = True
    start = torch.randn(2, 3, 4, 6, generator=torch.Generator().manual_seed(7))
    kept, seen = torch.from_numpy(schedule()[1]), []

    def watched(noisy, where, steps):
        a = float(kept[steps[0]])
        seen.append((noisy - a**0.5 * picture - (1 - a) ** 0.5 * start)[..., :3].abs().max())
        return fake(noisy, where, steps)

    made, free = (
        d.sample(
            watched,
            where,
            schedule=d.Schedule(),
            sampler=sampler,
            steps=5,
            generator=torch.Generator().manual_seed(7),
            known=mask,
        )
        for mask in ((picture, known), None)
    )
    assert torch.equal(made[..., :3], picture[..., :3])
    assert torch.equal(made[..., 3:], free[..., 3:])  # ``fake`` sees no neighbours
    assert max(seen[: len(seen) // 2]) < 1e-5
