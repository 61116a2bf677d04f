"""Windows that are normal but for a rectangle."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from pyad_edge.export.methods.grad.patch_diff import generate  # noqa: E402
from pyad_edge.export.methods.grad.place import coordinates  # noqa: E402
from pyad_edge.export.methods.grad.regions import SIDES, Regions  # noqa: E402
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
            assert min(across, 12 - across) < 1.1  # stripes fall as they did
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
