"""The stable batch norm of appendix E, and statistics for norms that were folded."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from pyad_edge.errors import DataError, SettingError  # noqa: E402
from pyad_edge.export.methods.recontrast.batch_norm import (  # noqa: E402
    StableBatchNorm2d,
    give_statistics,
    lacks_statistics,
    stabilise,
)

# batch variance, variance before the training: alive; dead; small but alive; below its own.
CHANNELS = ((1.0, 2.0), (1e-8, 0.3), (4e-4, 1e-4), (5e-5, 1e-4))
REPLACED = (False, True, False, True)


def norm_and_batch():
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(4)
    with torch.no_grad():
        norm.running_var.copy_(torch.tensor([c[1] for c in CHANNELS]))
        norm.running_mean.uniform_(-1, 1)
        norm.weight.uniform_(0.5, 2)
        norm.bias.uniform_(-1, 1)
    x = torch.randn(3, 4, 5, 5)
    x = (x - x.mean((0, 2, 3), keepdim=True)) / x.std((0, 2, 3), keepdim=True, correction=0)
    x = x * torch.tensor([c[0] for c in CHANNELS])[:, None, None].sqrt() + 0.1
    return norm, x


def slow(norm, x):
    """Appendix E in float64."""
    x, eps = x.double(), norm.eps
    mean, var = x.mean((0, 2, 3)), x.var((0, 2, 3), correction=0)
    before = norm.running_var.double()
    used = torch.where(var < before.clamp(max=5e-4), before, var)
    scale = norm.weight.double() / (used + eps).sqrt()
    return (x - mean[:, None, None]) * scale[:, None, None] + norm.bias.double()[:, None, None]


def test_dead_channels_are_divided_by_their_variance_before_the_training():
    norm, x = norm_and_batch()
    expected = slow(norm, x)
    found = StableBatchNorm2d(norm).train()(x)
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)
    plain = norm.train()(x)
    differs = (plain - found).abs().amax((0, 2, 3)) > 1e-3
    assert differs.tolist() == list(REPLACED)


def test_gradients_are_those_of_the_formula():
    norm, x = norm_and_batch()
    wide = x.double().requires_grad_()
    weights = torch.randn(x.shape, dtype=torch.float64)
    expected = torch.autograd.grad((slow(norm, wide) * weights).sum(), wide)[0]
    stable = StableBatchNorm2d(norm).train()
    x.requires_grad_()
    (stable(x) * weights.float()).sum().backward()
    for channel in range(4):
        a, b = x.grad[:, channel].double(), expected[:, channel]
        assert (a - b).abs().max() < 1e-4 * b.abs().max()
    assert stable.weight.grad.abs().min() > 0


def test_running_variance_takes_what_was_used():
    norm, x = norm_and_batch()
    stable = StableBatchNorm2d(norm).train()
    for _ in range(3):  # the threshold stays the one of before the training
        stable(x)
    batch = x.double().var((0, 2, 3), correction=1)
    before = norm.running_var.double()
    kept = 0.9**3
    used = torch.where(torch.tensor(REPLACED), before, batch)
    expected = kept * before + (1 - kept) * used
    torch.testing.assert_close(stable.running_var.double(), expected, rtol=1e-5, atol=0)


def test_evaluation_is_plain_batch_norm():
    norm, x = norm_and_batch()
    assert torch.equal(StableBatchNorm2d(norm).eval()(x), norm.eval()(x))


def test_all_norms_are_replaced_and_others_refused():
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Sequential(nn.BatchNorm2d(4), nn.BatchNorm2d(4)))
    assert stabilise(network) == 2
    assert all(isinstance(norm, StableBatchNorm2d) for norm in network[1])
    with pytest.raises(SettingError, match=r"got SyncBatchNorm .*--batch-norm train or eval"):
        stabilise(nn.Sequential(nn.SyncBatchNorm(4)))


def folded_network():
    torch.manual_seed(1)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 4, 3), nn.BatchNorm2d(4)
    )
    with torch.no_grad():
        for norm in (network[1], network[4]):
            norm.running_var.fill_(1 - norm.eps)
            norm.bias.uniform_(-1, 1)
        network[0].weight[2] = 0  # a dead channel
    return network.eval()


def test_statistics_change_no_output_in_evaluation():
    network = folded_network()
    batches = [torch.randn(4, 3, 12, 12) for _ in range(3)]
    expected = network(batches[0])
    assert give_statistics(network, batches) == 2
    torch.testing.assert_close(network(batches[0]), expected, rtol=1e-5, atol=1e-5)
    assert not network.training
    inputs = torch.cat([network[0](batch) for batch in batches]).double()
    torch.testing.assert_close(
        network[1].running_mean.double(), inputs.mean((0, 2, 3)), atol=1e-6, rtol=1e-6
    )
    torch.testing.assert_close(
        network[1].running_var.double(), inputs.var((0, 2, 3), correction=0), atol=1e-6, rtol=1e-6
    )
    assert not any(lacks_statistics(network[i]) for i in (1, 4))


def test_without_statistics_training_mode_would_be_another_network():
    """Why the pass is needed: on the batch it was taken from, training mode changes nothing."""
    x = torch.randn(8, 3, 12, 12) * 3 + 1
    without, given = folded_network(), folded_network()
    give_statistics(given, [x])
    expected = given(x).detach()
    spread = expected.std()
    assert (given.train()(x) - expected).abs().max() < 1e-3 * spread
    assert (without.train()(x) - expected).abs().max() > 0.3 * spread


def test_norms_with_statistics_are_left_alone():
    norm, _ = norm_and_batch()
    before = {key: value.clone() for key, value in norm.state_dict().items()}
    assert give_statistics(nn.Sequential(norm), []) == 0
    assert all(torch.equal(before[k], v) for k, v in norm.state_dict().items())


def test_no_picture_gives_no_statistics():
    with pytest.raises(DataError, match="at least one normal picture, got none"):
        give_statistics(folded_network(), [])


def test_bf16_input_gives_bf16_and_the_same_values_to_its_rounding():
    norm, x = norm_and_batch()
    x = x.to(torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        y = StableBatchNorm2d(norm).train()(x)
    assert y.dtype == torch.bfloat16
    torch.testing.assert_close(y.double(), slow(norm, x), rtol=2**-8, atol=0.02)
