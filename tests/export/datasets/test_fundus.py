"""Fundus photographs are cut to the disc in them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from pyad_edge.export.datasets import Category, write_view
from pyad_edge.export.datasets.view import fundus_box
from pyad_edge.images import read_image


def disc(size: tuple[int, int], centre: tuple[int, int], radius: int) -> NDArray[np.uint8]:
    y, x = np.mgrid[: size[0], : size[1]]
    inside = (y - centre[0]) ** 2 + (x - centre[1]) ** 2 <= radius**2
    picture = np.full((*size, 3), 4, np.uint8)  # nearly black: the sum is 12
    picture[inside] = (120, 60, 30)
    return picture


@pytest.mark.parametrize(
    ("size", "centre", "radius", "expected"),
    [
        ((101, 160), (50, 80), 30, (20, 50, 61)),
        ((60, 160), (30, 80), 40, (-10, 40, 81)),  # cut off above and below: the square is whole
        ((90, 71), (40, 30), 20, (20, 10, 41)),
    ],
)
def test_the_square_around_the_disc(
    size: tuple[int, int], centre: tuple[int, int], radius: int, expected: tuple[int, int, int]
) -> None:
    assert fundus_box(disc(size, centre, radius)) == expected


def test_a_black_picture_is_kept_whole() -> None:
    assert fundus_box(np.zeros((30, 50, 3), np.uint8)) == (0, 0, 50)


def test_the_view_holds_squares_padded_with_black(tmp_path: Path) -> None:
    path = tmp_path / "eye.png"
    picture = disc((60, 160), (30, 80), 40)
    Image.fromarray(picture).save(path)
    view = write_view(Category("aptos", (path,), (), crop_dark=True), tmp_path / "view")
    cut = read_image(view / "train/good/eye.png")
    assert cut.shape == (81, 81, 3)
    np.testing.assert_array_equal(cut[10:70], picture[:, 40:121])
    assert not cut[:10].any()
    assert not cut[70:].any()
