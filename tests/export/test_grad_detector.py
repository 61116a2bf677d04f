"""The detector's receptive field, cost and maps, measured."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from pyad_edge.errors import SettingError  # noqa: E402
from pyad_edge.export.methods.grad import detector as d  # noqa: E402
from pyad_edge.export.methods.grad import place  # noqa: E402


def model(levels=(34, 68, 136), preset="compact", **options):
    torch.manual_seed(3)
    detectors = {level: d.Detector(d.PRESETS[preset]) for level in levels}
    for part in detectors.values():
        torch.nn.init.normal_(part.layers[-1].weight)
    return d.GradModel(detectors, preset=preset, **options).eval()


@pytest.mark.parametrize("preset", sorted(d.PRESETS))
def test_receptive_field_is_34_by_34(preset):
    torch.manual_seed(0)
    network = d.Detector(d.PRESETS[preset])
    for layer in network.layers:  # no ReLU may hide a path
        torch.nn.init.uniform_(layer.weight, 0.5, 1.0)
    for place_of in network.places.values():  # nor may a place
        torch.nn.init.uniform_(place_of.weight, 0.01, 0.02)
    x = torch.ones(1, 5, 62, 62, requires_grad=True)
    logits = network(x)
    assert logits.shape == (1, 1, 8, 8)
    logits[0, 0, 2, 5].backward()
    touched = x.grad[0].abs().sum(0).numpy() > 0
    expected = np.zeros((62, 62), bool)
    expected[8 : 8 + 34, 20 : 20 + 34] = True
    assert (touched == expected).all()
    assert len(network.layers) == 8


@pytest.mark.parametrize(("preset", "limit"), [("accurate", 3e9), ("compact", 0.7e9)])
def test_cost_is_counted_and_small(preset, limit):
    counted = 0

    def count(layer, inputs, output):
        nonlocal counted
        counted += 2 * output.numel() * layer.weight[0].numel()

    network = model(preset=preset)
    for part in network.detectors.values():
        for layer in part.layers:
            layer.register_forward_hook(count)
    with torch.no_grad():
        network(torch.zeros(1, 3, 256, 256))
    assert d.flop(d.PRESETS[preset]) == counted
    assert 0.8 * limit < counted <= limit


def test_coordinates_are_x_then_y_and_go_on_beyond_the_edge():
    x, y = place.coordinates(4, 8, border=1).numpy()
    np.testing.assert_allclose(x[2], (np.arange(-1, 9) + 0.5) / 8 * 2 - 1, atol=1e-7)
    np.testing.assert_allclose(y[:, 5], (np.arange(-1, 5) + 0.5) / 4 * 2 - 1, atol=1e-7)


def test_level_input_pools_extends_and_appends():
    rng = np.random.default_rng(1)
    pictures = rng.normal(size=(2, 3, 32, 48)).astype(np.float32)
    made = d.level_input(torch.from_numpy(pictures), 136).numpy()
    assert made.shape == (2, 5, 14, 18)
    small = pictures.reshape(2, 3, 8, 4, 12, 4).mean((3, 5))
    expected = np.pad(small, ((0, 0), (0, 0), (3, 3), (3, 3)), mode="edge")
    np.testing.assert_allclose(made[:, :3], expected, atol=1e-6)


@pytest.mark.parametrize("level", [34, 68, 136])
def test_maps_lie_on_the_cells_that_their_patches_are_centred_on(level):
    """A patch's logit stands on the cell whose centre is the patch's, exactly."""
    factor, network = d.LEVELS[level], model((level,))
    part = network.detectors[str(level)]
    for layer in part.layers:
        torch.nn.init.uniform_(layer.weight, 0.5, 1.0)
    x = torch.ones(1, 5, 256 // factor + 6, 256 // factor + 6, requires_grad=True)
    logits = part(x)
    i, j = logits.shape[-2] // 2, 2
    logits[0, 0, i, j].backward()
    rows, columns = np.nonzero(x.grad[0].abs().sum(0).numpy())
    for places, index in ((rows, i), (columns, j)):
        centre = ((places.min() + places.max() + 1) / 2 - d.BORDER) * factor  # input's pixels
        assert centre == (index + d.BORDER + 0.5) * d.STRIDE * factor
    assert logits.shape[-1] + 2 * d.BORDER == 256 // factor // d.STRIDE


def test_fusion_normalises_each_level_and_takes_the_maximum_or_mean():
    pictures = torch.randn(1, 3, 128, 128)
    means, deviations = [0.5, -1.0, 2.0], [2.0, 0.5, 1.5]
    network = model(means=means, deviations=deviations, input_size=(128, 128))
    assert network.levels == (34, 68, 136)
    for level in network.levels:
        network.usual(level).normal_()
    with torch.no_grad():
        maps, grids, fused = (
            network.level_maps(pictures),
            network.grids(pictures),
            network(pictures),
        )
        network.fusion = "mean"
        averaged = network(pictures)
    assert [m.shape[-1] for m in maps] == [26, 10, 2]
    for index, (raw, grid) in enumerate(zip(maps, grids, strict=True)):
        assert grid.shape == (1, 1, 32, 32)
        above = raw - network.usual(network.levels[index])
        extended = np.pad(above[0, 0].numpy(), 3, mode="edge")
        expected = (extended - means[index]) / deviations[index]
        if index == 0:
            np.testing.assert_allclose(grid[0, 0].numpy(), expected, atol=1e-5)
        else:
            assert grid.max() <= expected.max() + 1e-5
            assert grid.min() >= expected.min() - 1e-5
    whole = torch.cat(grids, 1).numpy()
    np.testing.assert_allclose(fused.numpy()[:, 0], whole.max(1), atol=1e-6)
    np.testing.assert_allclose(averaged.numpy()[:, 0], whole.mean(1), atol=1e-5)


def test_other_levels_are_refused():
    with pytest.raises(SettingError, match="levels out of 34, 68, 136, got"):
        d.GradModel({}, preset="compact")
    with pytest.raises(SettingError, match=r"got \[50\]"):
        d.GradModel({50: d.Detector(d.PRESETS["compact"])}, preset="compact")
