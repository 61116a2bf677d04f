"""The refinement network: losses against slow forms, gradients, shapes, what training gives."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from pyad_edge.backends.onnxruntime_session import open_session
from pyad_edge.errors import BackendError, DataError, SettingError
from pyad_edge.export.methods.refinement.export_onnx import export_network
from pyad_edge.export.methods.refinement.loss import focal_loss, refinement_loss
from pyad_edge.export.methods.refinement.network import RefinementNetwork, multiply_adds
from pyad_edge.export.methods.refinement.pictures import MapSet
from pyad_edge.export.methods.refinement.settings import make_settings
from pyad_edge.export.methods.refinement.train import batch_of, make_network, train_network
from pyad_edge.export.metrics import aupro, pixel_auroc
from pyad_edge.export.synthetic_regions import random_region, smooth_noise

SMALL = {"width": 8, "stride": 2, "rates": (1, 2, 4), "batch": 8}


def slow_focal(logits: np.ndarray, target: np.ndarray, gamma: float) -> float:
    """Lin et al. 2017, eq. 4, one pixel at a time, float64."""
    total = 0.0
    for logit, truth in zip(logits.ravel(), target.ravel(), strict=True):
        p = 1 / (1 + math.exp(-logit))
        right = p if truth == 1 else 1 - p
        total -= (1 - right) ** gamma * math.log(right)
    return total / logits.size


@pytest.mark.parametrize("gamma", [0.0, 1.0, 2.0, 4.0])
def test_losses_are_the_equations(gamma: float) -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 3, (2, 1, 5, 7))
    target = (rng.random((2, 1, 5, 7)) < 0.3).astype(np.float64)
    x, y = torch.from_numpy(logits), torch.from_numpy(target)
    wanted = slow_focal(logits, target, gamma)
    assert float(focal_loss(x, y, gamma=gamma)) == pytest.approx(wanted, rel=1e-12)
    distance = np.abs(1 / (1 + np.exp(-logits)) - target).mean()
    got = float(refinement_loss(x, y, gamma=gamma, focal_weight=0.4, l1_weight=0.6))
    assert got == pytest.approx(0.4 * wanted + 0.6 * distance, rel=1e-12)
    if gamma == 0.0:
        entropy = torch.nn.functional.binary_cross_entropy_with_logits(x, y)
        assert float(focal_loss(x, y, gamma=0.0)) == pytest.approx(float(entropy), rel=1e-12)


def test_gradients_by_finite_differences() -> None:
    rng = np.random.default_rng(1)
    logits = torch.from_numpy(rng.normal(0, 2, (1, 1, 3, 4))).requires_grad_()
    target = torch.from_numpy((rng.random((1, 1, 3, 4)) < 0.5).astype(np.float64))
    assert torch.autograd.gradcheck(
        lambda x: refinement_loss(x, target, gamma=4.0, focal_weight=0.4, l1_weight=0.6), (logits,)
    )


def test_losses_bear_extreme_logits() -> None:
    logits = torch.tensor([-200.0, 200.0, -200.0, 200.0], requires_grad=True)
    target = torch.tensor([0.0, 1.0, 1.0, 0.0])
    loss = focal_loss(logits, target, gamma=2.0)
    loss.backward()
    assert float(loss.detach()) == pytest.approx(100.0)  # two wrong by 200, of four
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


@pytest.mark.parametrize("stride", [1, 2, 4, 8])
@pytest.mark.parametrize("picture", [False, True])
def test_network_keeps_the_map_size(stride: int, picture: bool) -> None:
    network = RefinementNetwork(width=4, stride=stride, rates=(1, 3), picture=picture).eval()
    for size in ((32, 48), (40, 24)):
        x = torch.randn(2, 4 if picture else 1, *size)
        with torch.no_grad():
            y = network(x)
        assert y.shape == (2, 1, *size)
        # Untrained it is the map itself behind a sigmoid: order and maximum stay.
        assert torch.allclose(torch.logit(y), x[:, :1] + network.last.bias, atol=1e-4)


def test_stride_does_not_shift_the_map() -> None:
    """What the strided branch adds lies where its input was, for every stride."""
    for stride in (1, 2, 4, 8):
        network = RefinementNetwork(width=4, stride=stride, rates=(1,)).eval()
        x = torch.zeros(1, 1, 64, 64)
        x[..., 24:40, 24:40] = 5.0  # symmetric about the middle
        with torch.no_grad():
            for module in network.modules():
                if isinstance(module, torch.nn.Conv2d):
                    module.weight.fill_(0.05)
            added = (network.logits(x) - network.gain * x)[0, 0]
        assert added.std() > 1e-4
        assert torch.allclose(added, added.flip(0), atol=1e-5)
        assert torch.allclose(added, added.flip(1), atol=1e-5)


def test_multiply_adds_by_hand() -> None:
    network = RefinementNetwork(width=8, stride=4, rates=(1, 2))
    per_place = 8 * 64 + 4 * 8 * 8 * 9 + (8 * 8 + 2 * 8 * 8 * 9) + 24 * 8 + 8
    assert multiply_adds(network, (64, 32)) == per_place * 16 * 8


def generated(count: int, seed: int, size: int = 64) -> MapSet:
    """Maps as an engine draws them: a blurred, faint trace of the defect on an uneven ground."""
    rng = np.random.default_rng(seed)
    maps = np.empty((count, size, size), np.float32)
    masks = np.zeros((count, size, size), bool)
    good = np.arange(count) % 3 == 0
    for n in range(count):
        if not good[n]:
            masks[n] = random_region(
                (size, size), rng, area=float(rng.uniform(0.01, 0.05)), streak=bool(n % 2)
            )
        trace = cv2.GaussianBlur(masks[n].astype(np.float32), (0, 0), 4.0)
        ground = smooth_noise((size, size), rng, cells=2, octaves=1)
        fine = smooth_noise((size, size), rng, cells=16, octaves=1)
        maps[n] = 3.0 + 0.35 * ground + 0.08 * fine + 1.6 * trace
    return MapSet(maps, masks, None, good)


def test_training_sharpens_maps_of_other_pictures() -> None:
    """On unseen maps the pixel AUROC rises by at least 0.05, the AUPRO by at least 0.15."""
    torch.set_num_threads(2)
    settings = make_settings(**SMALL, epochs=16, learning_rate=0.1)
    trained = train_network(generated(120, seed=0), settings)
    assert np.mean(trained.losses[-20:]) < 0.8 * np.mean(trained.losses[:20])
    other = generated(60, seed=1)
    x, _ = batch_of(other, np.arange(60), offset=trained.offset, scale=trained.scale)
    with torch.no_grad():
        refined = trained.network.logits(torch.from_numpy(x)).numpy()[:, 0]
    assert pixel_auroc(other.masks, refined) > pixel_auroc(other.masks, other.maps) + 0.05
    assert aupro(other.masks, refined) > aupro(other.masks, other.maps) + 0.15


def test_seeds_and_resumption_give_the_same_network(tmp_path: Path) -> None:
    data, settings = generated(12, seed=2, size=32), make_settings(**SMALL, epochs=4)
    whole = train_network(data, settings)
    again = train_network(data, settings, checkpoint=tmp_path / "c", csv=tmp_path / "log.csv")
    resumed = train_network(data, settings, checkpoint=tmp_path / "c", resume=True)
    for a, b, c in zip(
        whole.network.parameters(), again.network.parameters(), resumed.network.parameters(),
        strict=True,
    ):  # fmt: skip
        assert torch.equal(a, b)
        assert torch.equal(a, c)
    assert len(whole.losses) == 6 == len((tmp_path / "log.csv").read_text().splitlines()) - 1
    with pytest.raises(DataError, match="epochs was 4, now 5"):  # a checkpoint of other settings
        train_network(
            data, make_settings(**SMALL, epochs=5), checkpoint=tmp_path / "c", resume=True
        )


@pytest.mark.parametrize("picture", [False, True])
def test_onnx_file_equals_torch(picture: bool) -> None:
    network = RefinementNetwork(width=8, stride=4, rates=(1, 2), picture=picture)
    torch.manual_seed(0)
    with torch.no_grad():  # as after a training: nothing is zero, norms have statistics
        torch.nn.init.normal_(network.last.weight)
        network.train()(torch.randn(8, 4 if picture else 1, 64, 48))
    network.eval()
    model, difference = export_network(network, size=(64, 48), picture=picture)
    assert difference < 1e-5
    session = open_session(model, threads=1)
    x = torch.randn(1, 4 if picture else 1, 64, 48)
    with torch.no_grad():
        wanted = network(x).numpy()
    (found,) = session.run(["map"], {"input": x.numpy()})
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_a_wrong_file_is_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    network = RefinementNetwork(width=4).eval()
    monkeypatch.setattr(
        "pyad_edge.export.methods.refinement.export_onnx.MAX_ERROR", -1.0, raising=True
    )
    with pytest.raises(BackendError, match="differs from torch"):
        export_network(network, size=(32, 32), picture=False)


def test_first_weights_follow_the_seed_alone() -> None:
    torch.manual_seed(5)
    one = make_network(make_settings(seed=1))
    before = torch.get_rng_state()
    two = make_network(make_settings(seed=1))
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))


@pytest.mark.parametrize("wrong", [{"stride": 3}, {"width": 2}, {"rates": (0,)}, {"epochs": 0}])
def test_settings_say_what_is_wrong(wrong: dict[str, object]) -> None:
    with pytest.raises(SettingError, match=next(iter(wrong))):
        make_settings(**wrong)
