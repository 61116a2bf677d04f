"""Every pixel format against a slow reference, and every frame that is none."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pyad_edge import DataError
from pyad_edge.frames import FrameFormat, levels, plain_rgb
from pyad_edge.pixel_formats import PIXEL_FORMATS, PixelFormat, same_pixels

ODD = (13, 21)
Frame = NDArray[Any]


def window_of(pixels: PixelFormat) -> tuple[float, float] | None:
    if not pixels.is_deep:
        return None
    return (-1.5, 2.25) if pixels.dtype == "float32" else (7.0, float((1 << pixels.bits) - 20))


def random_frame(pixels: PixelFormat, size: tuple[int, int] = ODD, seed: int = 0) -> Frame:
    rng = np.random.default_rng(seed)
    shape = size if pixels.channels == 1 else (*size, pixels.channels)
    if pixels.dtype == "float32":
        return rng.uniform(-2, 3, shape).astype(np.float32)
    return rng.integers(0, 1 << pixels.bits, shape).astype(pixels.dtype)


def slow_level(value: float, window: tuple[float, float]) -> int:
    """In fractions; values of a float window are float64's own."""
    black, white = (Fraction(bound) for bound in window)
    level = 255 * (Fraction(float(value)) - black) / (white - black) + Fraction(1, 2)
    return int(min(max(level, Fraction(0)), Fraction(255)))


def slow_picture(frame: Frame, pixels: PixelFormat) -> NDArray[np.uint8]:
    """(H, W, 3) RGB, pixel by pixel; of mosaics only what lies a pixel off the border is right."""
    window = window_of(pixels)
    H, W = frame.shape[:2]
    values = np.zeros((H, W, 3), np.int64)
    for y in range(H):
        for x in range(W):
            pixel = np.atleast_1d(frame[y, x])[:3]
            grey = [slow_level(v, window) if window else int(v) for v in pixel]
            values[y, x] = grey if len(grey) == 3 else grey * 3
    if pixels.kind == "bgr":
        values = values[..., ::-1]
    if pixels.bayer is None:
        return values.astype(np.uint8)
    return slow_demosaic(values[..., 0], pixels.bayer)


def slow_demosaic(mosaic: NDArray[np.int64], colours: str) -> NDArray[np.uint8]:
    """Bilinear: a colour's mean over the 3 x 3 pixels around that have it, halves up."""
    H, W = mosaic.shape
    picture = np.zeros((H, W, 3), np.uint8)
    for y in range(1, H - 1):
        for x in range(1, W - 1):
            for c, colour in enumerate("RGB"):
                if colours[y % 2 * 2 + x % 2] == colour:
                    picture[y, x, c] = mosaic[y, x]
                    continue
                near = [
                    mosaic[j, i]
                    for j in (y - 1, y, y + 1)
                    for i in (x - 1, x, x + 1)
                    if colours[j % 2 * 2 + i % 2] == colour
                ]
                picture[y, x, c] = (2 * sum(near) + len(near)) // (2 * len(near))
    return picture


@pytest.mark.parametrize("name", PIXEL_FORMATS)
def test_every_format_is_its_reference(name: str) -> None:
    pixels = PIXEL_FORMATS[name]
    form = FrameFormat(name, window_of(pixels))
    frame = random_frame(pixels)
    form.check(frame)
    found, wanted = form.rgb(frame), slow_picture(frame, pixels)
    assert found.dtype == np.uint8
    assert found.shape == (*ODD, 3)
    assert found.flags.c_contiguous
    inner = (slice(1, -1), slice(1, -1)) if pixels.bayer else (slice(None), slice(None))
    np.testing.assert_array_equal(found[inner], wanted[inner])
    if pixels.channels == 1:
        np.testing.assert_array_equal(form.rgb(frame[..., np.newaxis]), found)


@pytest.mark.parametrize("name", PIXEL_FORMATS)
def test_any_strides_give_the_same_picture(name: str) -> None:
    pixels = PIXEL_FORMATS[name]
    form = FrameFormat(name, window_of(pixels))
    large = random_frame(pixels, (30, 44))
    views = [
        large[::-1],
        large[:, ::-1],
        large[3:20:2, 5::3],
        large.swapaxes(0, 1),
        large[2:15, 4:25],
        np.asfortranarray(large),
    ]
    for view in views:
        form.check(view)
        np.testing.assert_array_equal(form.rgb(view), form.rgb(np.ascontiguousarray(view)))


def test_a_hand_made_mosaic_has_its_colours() -> None:
    # A red and a blue half under each mosaic: PFNC's names, not OpenCV's.
    scene = np.zeros((12, 16, 3), np.uint8)
    scene[:, :8, 0] = 200
    scene[:, 8:, 2] = 100
    for first, colours in (("RG", "RGGB"), ("GB", "GBRG"), ("GR", "GRBG"), ("BG", "BGGR")):
        mosaic = np.empty((12, 16), np.uint8)
        for y in range(12):
            for x in range(16):
                mosaic[y, x] = scene[y, x, "RGB".index(colours[y % 2 * 2 + x % 2])]
        picture = FrameFormat(f"Bayer{first}8", None).picture(mosaic)
        np.testing.assert_array_equal(picture[2:-2, 2:6], scene[2:-2, 2:6])
        np.testing.assert_array_equal(picture[2:-2, 10:-2], scene[2:-2, 10:-2])


@pytest.mark.parametrize("window", [(0, 65535), (0, 1), (100, 355), (17, 4000), (65534, 65535)])
def test_levels_of_all_integers_are_exact(window: tuple[int, int]) -> None:
    values = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    black, white = window
    wanted = (510 * (values.astype(object) - black) + white - black) // (2 * (white - black))
    found = levels(values, (float(black), float(white)))
    np.testing.assert_array_equal(found, np.clip(wanted, 0, 255).astype(np.uint8))


@pytest.mark.parametrize("window", [(0.0, 1.0), (-3.5, 17.25), (0.0, 1e-300), (-1e30, 3e38)])
@pytest.mark.parametrize("shape", [(5,), (3, 7), (300, 211), (300, 211, 3), (2, 40000)])
def test_levels_of_floats_are_those_of_float64(
    window: tuple[float, float], shape: tuple[int, ...]
) -> None:
    black, white = window
    values = np.random.default_rng(1).uniform(-0.2, 1.2, shape) * min(white - black, 1e38)
    values = (values + black).astype(np.float32)
    values.flat[:3] = (-3e38, 3e38, black)
    with np.errstate(over="ignore"):
        scaled = (values.astype(np.float64) - black) * (255.0 / (white - black)) + 0.5
    wanted = np.floor(np.clip(scaled, 0.0, 255.0)).astype(np.uint8)
    np.testing.assert_array_equal(levels(values, window), wanted)
    np.testing.assert_array_equal(levels(values[::-1], window), wanted[::-1])


def test_a_window_is_not_the_pictures_own() -> None:
    form = FrameFormat("Mono12", (0.0, 4095.0))
    dark = np.full((8, 8), 100, np.uint16)
    bright = dark.copy()
    bright[4, 4] = 4095
    assert form.picture(dark)[0, 0] == form.picture(bright)[0, 0] == 6


def test_plain_pixels_are_not_copied() -> None:
    for name in ("Mono8", "RGB8", "BGR8", "RGBa8", "BGRa8"):
        frame = random_frame(PIXEL_FORMATS[name])
        assert np.shares_memory(FrameFormat(name, None).picture(frame), frame)
    assert np.shares_memory(plain_rgb(frame[..., :3].copy(), "rgb"), frame) is False


@pytest.mark.parametrize(
    ("name", "frame", "found"),
    [
        ("Mono12", np.zeros((9, 9), np.uint8), r"uint8 of shape \(9, 9\)"),
        ("Mono12", np.zeros((9, 9, 3), np.uint16), r"uint16 of shape \(9, 9, 3\)"),
        ("Mono12", np.zeros((9, 9), ">u2"), r">u2 of shape"),
        ("Mono8", np.zeros((9, 9, 3), np.uint8), r"shape \(9, 9, 3\)"),
        ("RGB8", np.zeros((9, 9), np.uint8), r"shape \(9, 9\)"),
        ("RGB8", np.zeros((9, 9, 4), np.uint8), r"shape \(9, 9, 4\)"),
        ("RGBa8", np.zeros((9, 9, 3), np.uint8), r"shape \(9, 9, 3\)"),
        ("BayerRG8", np.zeros((9, 9, 3), np.uint8), r"shape \(9, 9, 3\)"),
        ("Mono32f", np.zeros((9, 9), np.float64), r"float64 of shape"),
        ("Mono32f", np.zeros((2, 9, 9), np.float32), r"shape \(2, 9, 9\)"),
        ("Mono8", [[1, 2]], "list"),
    ],
)
def test_another_array_is_refused_with_both_named(name: str, frame: Any, found: str) -> None:
    pixels = PIXEL_FORMATS[name]
    form = FrameFormat(name, window_of(pixels))
    with pytest.raises(DataError, match=rf"expected a {name} frame, .*got .*{found}.* Set the cam"):
        form.check(frame)


def test_values_that_the_format_cannot_have() -> None:
    left_aligned = np.full((9, 9), 4000 << 4, np.uint16)
    with pytest.raises(DataError, match=r"values below 4096, got 64000\. Does the camera"):
        FrameFormat("Mono12", (0.0, 4095.0)).picture(left_aligned)
    FrameFormat("Mono16", (0.0, 65535.0)).picture(left_aligned)
    for value in (np.nan, np.inf, -np.inf):
        frame = np.zeros((9, 9, 3), np.float32)
        frame[8, 3, 1] = value
        with pytest.raises(DataError, match="finite values in a RGB32f frame"):
            FrameFormat("RGB32f", (0.0, 1.0)).picture(frame)


def test_which_formats_show_the_same() -> None:
    def same(a: str, b: str) -> bool:
        return same_pixels(PIXEL_FORMATS[a], PIXEL_FORMATS[b])

    assert same("RGB8", "BGRa8")
    assert same("BGR12", "RGB12")
    assert same("BayerRG10", "BayerGB10")
    assert not same("RGB8", "RGB10")
    assert not same("RGB8", "Mono8")
    assert not same("BayerRG8", "RGB8")
    assert not same("Mono16", "Mono12")
