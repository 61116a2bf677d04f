"""ReContrast's network: what reconstructs what, what is trained, what the encoders may be."""

from __future__ import annotations

import hashlib

import pytest
from shared_data import weights as shared_weights

torch = pytest.importorskip("torch")
pytest.importorskip("timm")

from pyad_edge.errors import BackendError, SettingError  # noqa: E402
from pyad_edge.export.methods.recontrast.backbone import Shape, build_encoder  # noqa: E402
from pyad_edge.export.methods.recontrast.batch_norm import StableBatchNorm2d  # noqa: E402
from pyad_edge.export.methods.recontrast.loss import recontrast_loss  # noqa: E402
from pyad_edge.export.methods.recontrast.model import ReContrast  # noqa: E402

TINY = "test_resnet"
PARTS = ("frozen", "encoder", "bottleneck", "decoder")


def make_model(batch_norm="stable", seed=0):
    torch.manual_seed(seed)
    encoder = build_encoder(TINY, weights="random")
    return ReContrast(encoder.module, encoder.shape, batch_norm=batch_norm)


def test_each_half_reconstructs_the_other_encoder():
    model = make_model().eval()
    torch.manual_seed(1)
    with torch.no_grad():  # else both encoders would agree
        for p in model.encoder.parameters():
            p.mul_(1 + 0.2 * torch.rand_like(p))
        x = torch.randn(2, 3, 64, 96)
        targets, outputs = model(x)
        frozen, trained = model.frozen(x), model.encoder(x)
        assert all(torch.equal(a, b) for a, b in zip(targets, [*frozen, *trained], strict=True))
        for view, source in enumerate((trained, frozen)):
            maps = model.decoder(model.bottleneck(source))
            for k, (head, m) in enumerate(zip(model.decoder.heads[view], maps, strict=True)):
                found = outputs[3 * view + k]
                assert found.shape == targets[3 * view + k].shape
                torch.testing.assert_close(found, head(m), rtol=1e-4, atol=1e-5)


def test_gradients_reach_the_trained_encoder_through_the_decoder_alone():
    model = make_model()
    x = torch.randn(2, 3, 64, 64)
    targets, outputs = model(x)
    recontrast_loss(targets, outputs, alpha=0.0).backward()
    for name in PARTS:
        grads = [p.grad for p in getattr(model, name).parameters()]
        assert all((g is None) == (name == "frozen") for g in grads)
    model.zero_grad()
    # Without the decoder's gradient nothing is left: targets are detached.
    recontrast_loss(targets, [output.detach() for output in outputs], alpha=0.0)
    assert all(p.grad is None for p in model.encoder.parameters())


def test_the_frozen_copy_keeps_its_weights_and_statistics():
    model = make_model()
    before = {key: value.clone() for key, value in model.frozen.state_dict().items()}
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    targets, outputs = model.train()(torch.randn(2, 3, 64, 64))
    recontrast_loss(targets, outputs, alpha=0.0).backward()
    optimizer.step()
    after = model.frozen.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert any(
        not torch.equal(before[k], v) for k, v in model.encoder.state_dict().items() if k in before
    )


@pytest.mark.parametrize(
    ("mode", "stable", "moves"),
    [("stable", True, True), ("train", False, True), ("eval", False, False)],
)
def test_modes_of_the_encoders_batch_norm(mode, stable, moves):
    model = make_model(mode).train()
    norms = [m for m in model.encoder.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert {type(norm) is StableBatchNorm2d for norm in norms} == {stable}
    before = norms[0].running_mean.clone()
    model(torch.randn(2, 3, 64, 64))
    assert torch.equal(norms[0].running_mean, before) is not moves
    assert not model.frozen.training
    assert model.bottleneck.training
    assert model.decoder.training


def test_frozen_maps_that_are_known_are_not_computed_again():
    model = make_model("eval")
    x = torch.randn(2, 3, 64, 64)
    frozen = [m.clone() for m in model.frozen(x)]
    expected = model(x)
    model.frozen = torch.nn.Identity()
    found = model(x, frozen=frozen)
    for a, b in zip([*expected[0], *expected[1]], [*found[0], *found[1]], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "shape", "parameters"),
    [
        # Table A5 less the 1x1 convolution of the public bottleneck that is never run:
        # 21.7, 74.9 and 145 million less 1024 c^2 / 2 and its norm.
        ("resnet18", Shape((64, 128, 256), (2, 2, 2), 2, None), 21.7e6 - 1024 * 513),
        ("resnet50", Shape((256, 512, 1024), (3, 4, 6), 3, 0.25), 74.9e6 - 4096 * 2049),
        ("wide_resnet50_2", Shape((256, 512, 1024), (3, 4, 6), 3, 0.5), 145e6 - 4096 * 2049),
    ],
)
def test_number_of_parameters_is_the_papers(name, shape, parameters):
    import timm

    with torch.device("meta"):
        encoder = timm.create_model(name, features_only=True, out_indices=(1, 2, 3))
        model = ReContrast(encoder, shape)
    assert sum(p.numel() for p in model.parameters()) == pytest.approx(parameters, rel=3e-3)


def test_weights_without_layer4_load_and_give_the_backbones_features():
    weights = shared_weights("resnet18_layer3.safetensors")
    encoder = build_encoder("resnet18", weights=weights)
    assert encoder.shape == Shape((64, 128, 256), (2, 2, 2), 2, None)
    assert encoder.weights_sha256 == hashlib.sha256(weights.read_bytes()).hexdigest()
    maps = encoder.module(torch.zeros(1, 3, 64, 96))
    assert [tuple(m.shape[1:]) for m in maps] == [(64, 16, 24), (128, 8, 12), (256, 4, 6)]


@pytest.mark.parametrize(
    ("name", "error", "sentence"),
    [
        ("test_vit", SettingError, "stages layer1 to layer3 of a ResNet"),
        ("test_efficientnet", SettingError, "stages layer1 to layer3 of a ResNet"),
        ("torchvision:resnet18", SettingError, "Leave out `torchvision:`"),
        ("resnet19", BackendError, "has no network 'resnet19'"),
    ],
)
def test_networks_that_are_no_resnet_are_refused(name, error, sentence):
    with pytest.raises(error, match=sentence):
        build_encoder(name, weights="random")
