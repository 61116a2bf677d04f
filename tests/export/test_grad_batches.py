"""Batches of three kinds of patches, and generated windows on disk."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from pyad_edge.errors import DataError, SettingError  # noqa: E402
from pyad_edge.export.methods.grad.batches import Batch, PatchBatches, augment  # noqa: E402
from pyad_edge.export.methods.grad.detector import PRESETS, Detector  # noqa: E402
from pyad_edge.export.methods.grad.elsewhere import Elsewhere, least_around  # noqa: E402
from pyad_edge.export.methods.grad.place import coordinates  # noqa: E402
from pyad_edge.export.methods.grad.reweighting import reweighted_loss  # noqa: E402
from pyad_edge.export.methods.grad.samples import Samples, load_samples, save_samples  # noqa: E402
from pyad_edge.export.methods.grad.settings import make_settings  # noqa: E402
from pyad_edge.export.methods.grad.trainer import DetectorTrainer, standardise  # noqa: E402
from pyad_edge.export.methods.grad.windows import LevelPictures, cut, random_places  # noqa: E402

PLAIN = {"light": 0.0, "shift": 0.0, "soft": 0.0, "grain": 0.0}


def level(count=9, side=58):
    """Pictures whose first channel says which they are and whose others hold the coordinates."""
    where = coordinates(side - 6, side - 6, border=3)
    numbers = torch.arange(count)[:, None, None, None] / 16
    pictures = torch.cat((numbers.expand(-1, 1, side, side), where.expand(count, -1, -1, -1)), 1)
    return LevelPictures(136, pictures.half(), where)


def samples(count=6, mark=200):
    windows = torch.full((count, 3, 40, 40), mark, dtype=torch.uint8)
    return Samples(windows, random_places(np.random.default_rng(mark), count, size=(58, 58),
                                          window=(40, 40)))  # fmt: skip


def test_batches_hold_the_papers_three_kinds():
    settings = make_settings(patches=8, **PLAIN)
    generated = {9: samples(mark=200), 13: samples(mark=100), 17: samples(mark=50)}
    batch = PatchBatches(level(), generated, settings).at(0)
    assert batch.positive.shape == (8, 5, 34, 34)
    assert batch.negative.shape == (8 * 4, 5, 34, 34)
    # Positive: contents and coordinates agree. From four pictures, two patches each.
    np.testing.assert_allclose(batch.positive[:, 1:3], batch.positive[:, 3:], atol=2e-3)
    sources = (batch.positive[:, 0, 0, 0] * 16).round().tolist()
    assert len(set(sources)) == 4
    assert all(sources.count(one) == 2 for one in sources)
    # Wrong places: normal contents, the coordinates of elsewhere, from four other pictures.
    wrong = batch.negative[:8]
    assert (wrong[:, 1:3] - wrong[:, 3:]).abs().amax(dim=(1, 2, 3)).gt(0.05).sum() >= 6
    assert not set((wrong[:, 0, 0, 0] * 16).round().tolist()) & set(sources)
    # Generated: by receptive field, ascending.
    for index, mark in enumerate((200, 100, 50)):
        own = batch.negative[8 * (index + 1) : 8 * (index + 2)]
        np.testing.assert_allclose(own[:, :3], mark / 127.5 - 1, atol=1e-6)


def test_grain_of_grey_pictures_is_grey():
    settings = make_settings(patches=8)
    for tint in (1.0, 0.9):
        pictures = torch.full((9, 3, 58, 58), 0.25)
        pictures[:, 2] *= tint
        grey = LevelPictures(136, pictures.half(), level().where)
        batch = PatchBatches(grey, {9: samples()}, settings).at(0)
        for part in (batch.positive, batch.negative):
            assert torch.equal(part[:, 0], part[:, 1]) == (tint == 1.0)
            assert float(part[:, 0].std()) > 0.01


@pytest.mark.parametrize("neighbours", [1, 4])
def test_all_kinds_have_the_same_places_and_the_edges_not_seldom(neighbours):
    side, window = 90, 60
    where = coordinates(side - 6, side - 6, border=3)
    pictures = LevelPictures(136, torch.zeros(16, 3, side, side).half(), where)
    rng = np.random.default_rng(5)

    def generated(count):
        places = random_places(
            rng, count, size=(side, side), window=(window, window), beyond=window - 34
        )
        return Samples(torch.zeros(count, 3, window, window, dtype=torch.uint8), places)

    plain = PLAIN | {"neighbours": neighbours}
    settings = make_settings(patches=64 * neighbours**2, alike=0.0, **plain)
    batches = PatchBatches(pictures, {n: generated(300) for n in (9, 13, 17)}, settings)
    group = 34 + 4 * (neighbours - 1)
    made = [batches.at(iteration) for iteration in range(40)]
    kinds = {"positive": torch.cat([one.positive for one in made])}
    for index, kind in enumerate(("wrong", "n = 9", "n = 13", "n = 17")):
        kinds[kind] = torch.cat([one.negative[64 * index : 64 * (index + 1)] for one in made])
    shares = {}
    for kind, own in kinds.items():
        x = ((own[:, 3, 0, 0] + 1) / 2 * (side - 6) - 0.5 + 3).round().long()
        assert x.min() == 0
        assert x.max() == side - group
        # Patches of a group: how many of all lie in the outer fifths of the places.
        each = (x[:, None] + 4 * torch.arange(neighbours)).flatten().float() / (side - 34)
        shares[kind] = (float((each < 0.2).float().mean()), float((each > 0.8).float().mean()))
    for kind, (left, right) in shares.items():
        assert 0.12 < left < 0.45, kind
        assert 0.12 < right < 0.45, kind
        if kind != "wrong":  # whose contents have these places, and whose coordinates are anywhere
            assert abs(left - shares["positive"][0]) < 0.05
            assert abs(right - shares["positive"][1]) < 0.05


def test_wrong_places_look_alike_and_are_no_right_ones():
    """Of a striped picture: where the stripes fall as they do in the patch, at another place."""
    side, window = 90, (34, 34)
    where = coordinates(side - 6, side - 6, border=3)
    stripes = (torch.arange(side) % 12 < 2).float().expand(4, 3, side, side)
    pictures = LevelPictures(34, stripes.half(), where)
    rng = np.random.default_rng(2)
    true = random_places(rng, 40, size=(side, side), window=window)
    patches = cut(stripes, np.zeros(40, int), true, window)
    chosen = Elsewhere(pictures, share=0.5, shift=0.02).places(rng, patches, true)
    assert chosen.shape == (40, 2)
    assert (chosen >= 0).all()
    assert (chosen <= side - 34).all()
    off = np.abs((chosen - true)[:, 1])
    off = np.minimum(off % 12, -off % 12)  # pixels beside a stripe's place
    assert off[:20].max() <= 1 < off[20:].mean()
    near = np.abs(chosen - true).max(axis=1)
    assert near[:20].min() > 4 + 0.02 * side
    anywhere = Elsewhere(pictures, share=0.0, shift=0.02).places(rng, patches, true)
    off = np.abs((anywhere - true)[:, 1])
    assert np.minimum(off % 12, -off % 12).mean() > 2


def test_differences_from_the_mean_picture_are_those_of_a_slow_sum():
    size, generator = (71, 53), torch.Generator().manual_seed(3)
    whole = (torch.rand(5, 3, *size, generator=generator) * 2 - 1).half()
    pictures = LevelPictures(34, whole, torch.zeros(2, *size))
    own = Elsewhere(pictures, share=1.0, shift=0.0)
    mean = whole.double().mean(dim=0)
    for height, width in ((34, 34), (7, 19), (34, 34), (71, 53)):
        patches = torch.rand(3, 3, height, width, generator=generator) * 2 - 1
        windows = mean.unfold(1, height, 1).unfold(2, width, 1)  # (3, h, w, height, width)
        slow = torch.stack(
            [
                (windows - patch[:, None, None].double()).square().sum(dim=(0, 3, 4))
                for patch in patches
            ]
        )
        np.testing.assert_allclose(own.differences(patches), slow, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("reach", [0, 1, 4, 9, 40])
def test_minima_around_a_place_are_those_of_a_slow_search(reach: int):
    maps = torch.rand(3, 37, 23, generator=torch.Generator().manual_seed(reach))
    found = least_around(maps, reach)
    for index, y, x in np.ndindex(*maps.shape):
        around = maps[index, max(0, y - reach) : y + reach + 1, max(0, x - reach) : x + reach + 1]
        assert found[index, y, x] == around.min()


def test_generated_patches_have_their_windows_coordinates():
    pictures, own = level(), samples()
    where = cut(pictures.where, range(len(own)), own.places, (40, 40))
    shown = ((where[:, [0, 1, 0]] / 2.4 + 0.5) * 200).round().to(torch.uint8)
    settings = make_settings(patches=4, **PLAIN)
    batch = PatchBatches(pictures, {9: Samples(shown, own.places)}, settings).at(0)
    made = batch.negative[4:]
    colours = ((made[:, :2] + 1) * 127.5 / 200 - 0.5) * 2.4  # the border lies beyond 1
    np.testing.assert_allclose(colours, made[:, 3:], atol=0.012)


def test_a_batch_follows_from_seed_and_number_alone():
    settings = make_settings(patches=4)
    batches = PatchBatches(level(), {9: samples()}, settings)
    first, other = batches.at(5), batches.at(6)
    again = PatchBatches(level(), {9: samples()}, settings).at(5)
    assert torch.equal(first.negative, again.negative)
    assert not torch.equal(first.positive, other.positive)
    with pytest.raises(DataError, match="no generated windows"):
        PatchBatches(level(), {}, settings)


def test_groups_of_neighbours_come_from_a_picture_each():
    settings = make_settings(patches=32, neighbours=2, **PLAIN | {"alike": 0.0})
    batch = PatchBatches(level(count=20), {9: samples()}, settings).at(0)
    for own in (batch.positive, batch.negative[:8]):
        assert len(set((own[:, 0, 0, 0] * 16).round().tolist())) == 8


def test_augmentation_keeps_within_its_limits():
    settings = make_settings(light=0.1, shift=0.02, grain=0.05)
    patches = torch.rand(64, 5, 34, 34)
    made = augment(patches, np.random.default_rng(0), settings)
    moved = (made[:, 3:] - patches[:, 3:]).flatten(2)
    assert moved.std(dim=2).max() < 1e-5  # a patch's coordinates move together
    assert 0.02 < moved.abs().max() <= 0.0401
    change = made[:, :3].mean(dim=(1, 2, 3)) - patches[:, :3].mean(dim=(1, 2, 3))
    assert 0.05 < change.abs().max() < 0.105
    still = augment(patches, np.random.default_rng(0), make_settings(**PLAIN))
    np.testing.assert_allclose(still, patches, atol=1e-6)


def test_samples_are_used_again_only_for_the_same_training(tmp_path):
    file, own = tmp_path / "samples.safetensors", samples()
    assert load_samples(file, identity={"seed": 1}) is None
    save_samples(file, own, identity={"seed": 1})
    found = load_samples(file, identity={"seed": 1})
    assert torch.equal(found.windows, own.windows)
    assert (found.places == own.places).all()
    assert load_samples(file, identity={"seed": 2}) is None


@pytest.mark.parametrize("damage", ["pixel", "short"])
def test_damaged_samples_are_refused(tmp_path, damage):
    file = tmp_path / "samples.safetensors"
    save_samples(file, samples(), identity={"seed": 1})
    data = bytearray(file.read_bytes())
    if damage == "pixel":
        data[-100] ^= 1
    else:
        data = data[:-200]
    file.write_bytes(data)
    with pytest.raises(DataError, match=r"damaged|cannot be read"):
        load_samples(file, identity={"seed": 1})


def test_groups_of_neighbours_are_patches_that_share_their_convolutions():
    settings = make_settings(patches=16, neighbours=2, regularise=False, preset="compact")
    batch = PatchBatches(level(), {9: samples()}, settings).at(0)
    assert batch.positive.shape == (4, 5, 38, 38)
    assert batch.negative.shape == (8, 5, 38, 38)
    torch.manual_seed(0)
    trainer = DetectorTrainer(settings, steps=3, device=torch.device("cpu"))
    torch.nn.init.normal_(trainer.detector.layers[-1].weight)
    trainer.positive.push(torch.rand(9, 64))
    trainer.negative.push(torch.rand(9, 64))

    def single(groups):
        return torch.cat([groups[n : n + 1, :, i : i + 34, j : j + 34]
                          for n in range(len(groups)) for i in (0, 4) for j in (0, 4)])  # fmt: skip

    with torch.no_grad():
        near, far = (
            trainer.detector.features(single(groups)).flatten(1)
            for groups in (batch.positive, batch.negative)
        )
        weights = trainer.weights(near, far)
        expected = reweighted_loss(
            trainer.detector.classify(near[..., None, None]).flatten(),
            trainer.detector.classify(far[..., None, None]).flatten(),
            positive_weights=weights[0],
            negative_weights=weights[1],
        )
    figures = trainer.step(1, batch)  # the first one would standardise the detector
    np.testing.assert_allclose(figures["classes"], float(expected), rtol=1e-5)
    assert len(trainer.positive.rows) == 9 + 16


def test_beta_rises_over_the_first_fifth_of_the_steps():
    settings = make_settings(patches=4, regularise=False, preset="compact")
    batch = PatchBatches(level(), {9: samples()}, settings).at(0)
    losses = {}
    for iteration, share in ((1, 0.05), (10, 0.5), (20, 1.0), (90, 1.0)):
        torch.manual_seed(0)
        trainer = DetectorTrainer(settings, steps=100, device=torch.device("cpu"))
        torch.nn.init.normal_(trainer.detector.layers[-1].weight)
        trainer.positive.push(torch.rand(9, 64))
        trainer.negative.push(torch.rand(9, 64))
        with torch.no_grad():
            near, far = (
                trainer.detector.features(one).flatten(1)
                for one in (batch.positive, batch.negative)
            )
            even = trainer.weights(near, far, share=0.0)
            chosen = trainer.weights(near, far, share=share)
            expected = reweighted_loss(
                trainer.detector.classify(near[..., None, None]).flatten(),
                trainer.detector.classify(far[..., None, None]).flatten(),
                positive_weights=chosen[0],
                negative_weights=chosen[1],
            )
        for own in even:
            np.testing.assert_allclose(own, 1 / len(own), rtol=1e-12)
        losses[iteration] = trainer.step(iteration, batch)["classes"]
        np.testing.assert_allclose(losses[iteration], float(expected), rtol=1e-5)
    assert len(set(losses.values())) == 3
    assert losses[20] == losses[90]


def test_a_step_learns_and_counts_every_part_of_the_loss():
    settings = make_settings(patches=16, neighbours=2, preset="compact", queue=64)
    batches = PatchBatches(level(), {9: samples()}, settings)
    torch.manual_seed(0)
    trainer = DetectorTrainer(settings, steps=30, device=torch.device("cpu"))
    first, *_, last = (trainer.step(index, batches.at(index)) for index in range(12))
    assert last["classes"] < first["classes"]
    assert last["features"] < first["features"]
    whole = last["classes"] + 1e-5 * last["features"] + 0.1 * last["gradient"]
    np.testing.assert_allclose(last["loss"], whole, rtol=1e-5)
    assert 1 <= last["effective"] <= 32
    with pytest.raises(DataError, match=r"finite loss of the detector, got nan at step 13"):
        trainer.step(12, Batch(batches.at(0).positive * torch.nan, batches.at(0).negative))
    with pytest.raises(SettingError, match="a multiple of 16, since they come from 4 pictures"):
        make_settings(patches=8, neighbours=2)


def test_a_detector_begins_with_differences_and_even_channels():
    torch.manual_seed(0)
    detector = Detector(PRESETS["compact"])
    patches = 3 + torch.rand(12, 5, 38, 38)
    standardise(detector, patches)
    even = torch.full((1, 5, 34, 34), 0.7)
    first = detector.layers[0]
    for x in (even, even + torch.tensor([1.0, 1, 1, 5, 7])[:, None, None]):  # brighter, elsewhere
        found = (first(x) - first.bias[:, None, None])[0, ::2]
        np.testing.assert_allclose(found.detach(), 0, atol=2e-3)
    x = patches
    for layer in detector.layers[:-1]:
        found = layer(x).detach()
        np.testing.assert_allclose(found.mean(dim=(0, 2, 3)), 0, atol=1e-3)
        np.testing.assert_allclose(found.std(dim=(0, 2, 3)), 1, atol=1e-3)
        x = torch.relu(found)
