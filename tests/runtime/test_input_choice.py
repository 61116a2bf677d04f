"""Overrides of a runtime: taken where the picture stays, refused where scores would change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from declared import declared_engine, texture
from tiny_engine import TinyEngine

from pyad_edge import DataError, Runtime, SettingError, read_image
from pyad_edge.export.frame_settings import FrameSettings
from pyad_edge.frame_files import read_frame

SIZE = (80, 96)


@pytest.fixture(scope="module")
def rgb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return declared_engine(tmp_path_factory.mktemp("rgb"), FrameSettings(), size=SIZE)


def mosaic(seed: int) -> np.ndarray[Any, Any]:
    """A RGGB mosaic of 12 bits."""
    scene = texture(SIZE, seed).astype(np.uint16) * 16
    y, x = np.indices(SIZE)
    return np.take_along_axis(scene, ((y % 2) + (x % 2))[..., np.newaxis], axis=2)[..., 0]


@pytest.fixture(scope="module")
def bayer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    frames = FrameSettings("BayerRG12", window=(100.0, 4000.0))
    return declared_engine(tmp_path_factory.mktemp("bayer"), frames, make=mosaic)


def test_another_order_of_colours_is_the_same_picture(rgb: Path) -> None:
    frame = texture(SIZE, 20)
    alpha = np.full((*SIZE, 1), 7, np.uint8)
    wanted = Runtime(rgb).infer(frame)
    frames = {
        "RGB8": frame,
        "BGR8": frame[..., ::-1],
        "RGBa8": np.concatenate((frame, alpha), axis=2),
        "BGRa8": np.concatenate((frame[..., ::-1], alpha), axis=2),
    }
    for name, other in frames.items():
        runtime = Runtime(rgb, pixel_format=name)
        found = runtime.infer(other)
        assert found.score == wanted.score
        assert found.anomaly_map.tobytes() == wanted.anomaly_map.tobytes()
        np.testing.assert_array_equal(runtime.picture(other), frame)
        assert runtime.info["input"]["pixel_format"] == name
        assert runtime.info["golden_drift"] == Runtime(rgb).info["golden_drift"]
    bgr = Runtime(rgb, color_order="bgr")
    assert bgr.infer(frame[..., ::-1]).score == wanted.score
    assert bgr.info["input"]["pixel_format"] == "BGR8"


def test_engines_that_declare_nothing_take_colours_of_8_bits(tiny: TinyEngine) -> None:
    picture = read_image(next(iter(tiny.scores)))
    wanted = Runtime(tiny.path).infer(picture).score
    assert Runtime(tiny.path, pixel_format="BGR8").infer(picture[..., ::-1]).score == wanted
    mono = np.ascontiguousarray(picture[..., 0])
    plain = Runtime(tiny.path).infer(mono)
    assert Runtime(tiny.path, pixel_format="Mono8").infer(mono).score == plain.score
    with pytest.raises(DataError, match="expected a Mono8 frame"):
        Runtime(tiny.path, pixel_format="Mono8").infer(picture)


def test_a_mosaic_may_begin_at_another_pixel(bayer: Path) -> None:
    runtime = Runtime(bayer)
    other = Runtime(bayer, pixel_format="BayerGR12")
    frame = mosaic(30)
    assert other.infer(frame[:, 1:]).score == pytest.approx(
        runtime.infer(frame[:, 2:]).score, rel=0.2
    )
    np.testing.assert_array_equal(
        other.picture(frame[:, 1:])[2:-2, 3:-2], runtime.picture(frame[:, 2:])[2:-2, 2:-2]
    )


@pytest.mark.parametrize(
    ("choice", "reason"),
    [
        ({"pixel_format": "Mono8"}, "scores of Mono8 frames would mean something else"),
        ({"pixel_format": "RGB12"}, "train an engine with --pixel-format RGB12"),
        ({"pixel_format": "BayerRG8"}, "fitted on RGB8 frames"),
        ({"pixel_format": ["RGB8"]}, r"unknown pixel format \['RGB8'\]"),
        ({"pixel_format": "Mono12p"}, "unknown pixel format 'Mono12p'. Known are"),
        ({"pixel_format": "BGR8", "color_order": "bgr"}, "either color_order or pixel_format"),
        ({"size_policy": "letterbox"}, "fitted with the size policy 'resize'"),
        ({"size_policy": "stretch"}, "one of error, resize, letterbox, tile, got 'stretch'"),
    ],
)
def test_what_would_change_scores_is_refused(
    rgb: Path, choice: dict[str, Any], reason: str
) -> None:
    with pytest.raises(SettingError, match=reason):
        Runtime(rgb, **choice)


@pytest.mark.parametrize(
    ("choice", "reason"),
    [
        ({"pixel_format": "Mono16"}, "fitted on pictures of 8 bits per channel"),
        ({"pixel_format": "BayerRG8"}, "fitted on pictures of 8 bits per channel"),
        ({"size_policy": "error"}, "needs the size of the frames, which this engine does not"),
        ({"size_policy": "tile"}, "fitted with the size policy 'resize'"),
    ],
)
def test_the_same_for_engines_that_declare_nothing(
    tiny: TinyEngine, choice: dict[str, Any], reason: str
) -> None:
    with pytest.raises(SettingError, match=reason):
        Runtime(tiny.path, **choice)
    Runtime(tiny.path, size_policy="resize")


def test_mosaics_have_no_colour_order(bayer: Path) -> None:
    with pytest.raises(SettingError, match="BayerRG12 frames, which have no colour order"):
        Runtime(bayer, color_order="bgr")


def test_an_order_that_has_no_format(tmp_path: Path) -> None:
    frames = FrameSettings("RGB32f", window=(0.0, 1.0))
    path = declared_engine(
        tmp_path, frames, make=lambda seed: (texture(SIZE, seed) / 255.0).astype(np.float32)
    )
    with pytest.raises(SettingError, match="takes RGB32f frames, and there is no BGR32f"):
        Runtime(path, color_order="bgr")


def test_error_where_the_size_is_known(rgb: Path) -> None:
    runtime = Runtime(rgb, size_policy="error")
    runtime.infer(texture(SIZE, 1))
    with pytest.raises(DataError, match="96 x 80 pixels"):
        runtime.infer(texture((80, 97), 1))
    Runtime(rgb).infer(texture((80, 97), 1))


def test_frames_of_another_kind_are_no_verdict(rgb: Path, bayer: Path) -> None:
    with pytest.raises(DataError, match=r"expected a RGB8 frame, .* got uint8 of shape \(80, 96\)"):
        Runtime(rgb).infer(texture(SIZE, 1)[..., 0])
    with pytest.raises(DataError, match="expected sides of 8 to 16384"):
        Runtime(rgb).infer(texture((7, 96), 1))
    with pytest.raises(DataError, match="expected a BayerRG12 frame"):
        Runtime(bayer).picture(texture(SIZE, 1))


def test_eight_threads_are_one(bayer: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    runtime = Runtime(bayer)
    frames = [mosaic(seed) for seed in range(40, 56)]
    alone = [runtime.infer(frame) for frame in frames]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(runtime.infer, frames))
    for one, many in zip(alone, together, strict=True):
        assert one.score == many.score
        assert one.anomaly_map.tobytes() == many.anomaly_map.tobytes()


def test_files_are_frames(bayer: Path) -> None:
    path = bayer.parent / "good" / "003.png"
    np.testing.assert_array_equal(read_frame(path, "BayerRG12"), mosaic(3))
