"""Windows that are normal but for a rectangle."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from pyad_edge.export.methods.grad.patch_diff import generate  # noqa: E402
from pyad_edge.export.methods.grad.place import coordinates  # noqa: E402
from pyad_edge.export.methods.grad.regions import SEAM, SIDES, Regions  # noqa: E402
from pyad_edge.export.methods.grad.settings import make_settings  # noqa: E402
from pyad_edge.export.methods.grad.unet import PatchUNet  # noqa: E402
from pyad_edge.export.methods.grad.windows import LevelPictures, cut, random_places  # noqa: E402

SIDE, WINDOW = 58, 40


def level():
    """Pictures with stripes 12 pixels apart, each of a brightness of its own."""
    where = coordinates(SIDE - 6, SIDE - 6, border=3)
    stripes = (torch.arange(SIDE) % 12 < 2).float().expand(5, 3, SIDE, SIDE)
    own = torch.linspace(-0.9, 0, 5)[:, None, None, None] + 0.5 * stripes
    return LevelPictures(136, own.half(), where)


def settings(**values):
    values = {"exchanged": 0.0} | values
    return make_settings(width=8, sample_window=WINDOW, sampling_steps=2, **values)


def test_rectangles_have_their_sides_and_some_the_coordinates_of_a_place_alike():
    pictures, rng = level(), np.random.default_rng(3)
    places = random_places(rng, 60, size=(SIDE, SIDE), window=(WINDOW, WINDOW))
    made = Regions(pictures, settings(alike=0.5)).at(rng, places)
    whole = cut(pictures.where, range(60), places, (WINDOW, WINDOW))
    moved = 0
    for index in range(60):
        rows, columns = torch.nonzero(~made.kept[index, 0], as_tuple=True)
        height, width = (int(v.max() - v.min()) + 1 for v in (rows, columns))
        assert len(rows) == height * width  # one rectangle
        for length in (height, width):
            # Half of one whose middle lies at the window's edge is outside.
            assert SIDES[0] * WINDOW / 2 - 1 <= length <= SIDES[1] * WINDOW + 1
        change = (made.where[index] - whole[index]) * (SIDE - 6) / 2  # pixels
        assert (change[:, made.kept[index, 0]] == 0).all()
        inner = change[:, ~made.kept[index, 0]]
        assert inner.std(dim=1).max() < 1e-4  # moved together
        across = float(inner[0, 0]) % 12
        if inner.abs().max() > 0.5:
            moved += 1
            assert min(across, 12 - across) < 2.1  # stripes fall as they did, to their width
    assert 18 <= moved <= 42


def test_rectangles_cover_a_windows_edges_too():
    pictures, rng = level(), np.random.default_rng(4)
    places = random_places(rng, 400, size=(SIDE, SIDE), window=(WINDOW, WINDOW))
    kept = Regions(pictures, settings(alike=0.0)).at(rng, places).kept
    covered = (~kept[:, 0]).float().mean(dim=0)
    corners = covered[[0, 0, -1, -1], [0, -1, 0, -1]].mean()
    edges = torch.cat((covered[0], covered[-1], covered[:, 0], covered[:, -1])).mean()
    middle = covered[WINDOW // 4 : -WINDOW // 4, WINDOW // 4 : -WINDOW // 4].mean()
    # Half of the middle's rate along each axis: from one side only can a rectangle reach an edge.
    assert 0.35 * middle < edges < middle
    assert 0.15 * middle < corners < edges


@pytest.mark.parametrize("alike", [0.0, 1.0])
def test_exchanged_regions_are_another_pictures_but_for_a_seam(alike):
    pictures, rng = level(), np.random.default_rng(5)
    places = random_places(rng, 200, size=(SIDE, SIDE), window=(WINDOW, WINDOW))
    made = Regions(pictures, settings(alike=alike, exchanged=1.0)).at(rng, places)
    whole = cut(pictures.where, range(200), places, (WINDOW, WINDOW))
    assert torch.equal(made.where, whole)  # the seam belongs where it is
    ground = pictures.pictures.float().amin(dim=(1, 2, 3))  # each picture's, between stripes
    exchanged = own_again = moved = 0
    for index in range(200):
        window, kept = made.pictures[index, 0], made.kept[index, 0]
        rows, columns = torch.nonzero(~kept, as_tuple=True)
        top, bottom, left, right = (
            int(f()) for f in (rows.min, rows.max, columns.min, columns.max)
        )
        low, high = (SEAM if top else 0), (SEAM if bottom < WINDOW - 1 else 0)
        near, far = (SEAM if left else 0), (SEAM if right < WINDOW - 1 else 0)
        inner = window[top + low : bottom + 1 - high, left + near : right + 1 - far]
        if not inner.numel():  # smaller than its seams: all of it is generated
            assert not kept[top : bottom + 1, left : right + 1].any()
            continue
        assert kept[top + low : bottom + 1 - high, left + near : right + 1 - far].all()
        outside = torch.ones(WINDOW, WINDOW, dtype=torch.bool)
        outside[top : bottom + 1, left : right + 1] = False
        assert kept[outside].all()
        mine = (window[outside].min() - ground).abs()
        assert mine.min() < 1e-3
        if inner.shape[1] < 3:  # perhaps nothing but a stripe
            continue
        first = int(places[index, 1])
        stripes = (torch.arange(SIDE) % 12 < 2)[first : first + WINDOW]
        # Values of one picture: its ground, its ground + 0.5 on stripes.
        base = ground[(ground - inner.min()).abs().argmin()]
        found = (inner[0] - base) > 0.25
        np.testing.assert_allclose(inner, base + 0.5 * found.float().expand_as(inner), atol=2e-3)
        exchanged += int(mine.argmin() != (ground - base).abs().argmin())
        own_again += int(mine.argmin() == (ground - base).abs().argmin())
        expected = stripes[left + near : right + 1 - far]
        moved += int(not torch.equal(found, expected))
        if not alike:
            assert torch.equal(found, expected)
    assert exchanged > 3 * own_again > 0  # one donor of five is the window's own picture
    if alike:
        assert moved < 60  # stripes fall as they did, most of them to the pixel


def test_without_alike_coordinates_are_right():
    pictures, rng = level(), np.random.default_rng(3)
    places = random_places(rng, 9, size=(SIDE, SIDE), window=(WINDOW, WINDOW))
    made = Regions(pictures, settings(alike=0.0)).at(rng, places)
    assert torch.equal(made.where, cut(pictures.where, range(9), places, (WINDOW, WINDOW)))


@pytest.mark.parametrize(("inside", "whole"), [(0.0, 12), (0.25, 9), (1.0, 0)])
def test_that_share_of_the_windows_is_normal_elsewhere(inside, whole):
    pictures = level()
    network = PatchUNet(5, width=8).eval()
    made = generate(
        network, pictures, settings(samples=12, inside=inside), device=torch.device("cpu")
    )
    assert made.windows.shape == (12, 3, WINDOW, WINDOW)
    for index, window in enumerate(made.windows):
        y, x = made.places[index]
        real = (pictures.pictures[..., y : y + WINDOW, x : x + WINDOW].float() + 1) * 127.5
        off = (window.float() - real).abs().amax(dim=1) <= 1  # from each picture
        share = off.flatten(1).float().mean(dim=1).max()
        if index < whole:
            assert share < 0.2
        else:
            assert 1 - SIDES[1] ** 2 - 0.05 <= share < 1


def test_windows_of_grey_pictures_are_grey_and_those_of_coloured_ones_are_not():
    grey = level()
    assert grey.grey
    tint = torch.tensor([1.0, 0.9, 1.1])[:, None, None]
    coloured = LevelPictures(136, (grey.pictures * tint).half(), grey.where)
    assert not coloured.grey
    torch.manual_seed(4)
    network = PatchUNet(9, width=8).eval()
    torch.nn.init.normal_(network.last.weight, std=0.2)  # or all channels would find the same
    for pictures in (grey, coloured):
        made = generate(
            network, pictures, settings(samples=9, inside=0.5), device=torch.device("cpu")
        )
        same = [torch.equal(own, own[:1].expand_as(own)) for own in made.windows]
        assert same == [pictures.grey] * 9
