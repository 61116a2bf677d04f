"""Train, calibrate, evaluate and inspect on declared frames, through the commands."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from command_line import Answer, call
from declared import declared_engine, texture, write_files
from tiny_engine import TinyEngine

from pyad_edge import DataError, Runtime, SettingError, read_engine, read_image
from pyad_edge.export.data import read_mask, read_mask_at
from pyad_edge.export.frame_settings import FrameSettings
from pyad_edge.frame_files import read_frame
from pyad_edge.pixel_formats import PIXEL_FORMATS

SIZE = (72, 100)
Frame = np.ndarray[Any, Any]


def train(folder: Path, tiny: TinyEngine, *options: object, data: Path | None = None) -> Answer:
    given = ("--data", data or tiny.data, "--out", folder / "e.pyad", "--backbone", tiny.backbone)
    return call("train", "patchcore", *given, "--size", 64, "--coreset", 0.1, *options)


def frame_of(name: str, seed: int) -> Frame:
    """A texture as a frame of this format, its values across the whole range."""
    pixels = PIXEL_FORMATS[name]
    picture = texture(SIZE, seed, channels=max(3, pixels.channels))
    picture = picture[..., : pixels.channels] if pixels.channels > 1 else picture[..., 0]
    if pixels.channels == 4:
        picture[..., 3] = 255
    if pixels.dtype == "float32":
        return picture.astype(np.float32) / 255
    return (picture.astype(np.uint16) << (pixels.bits - 8)).astype(pixels.dtype)


@pytest.mark.parametrize(
    "name",
    ["Mono8", "Mono12", "Mono16", "RGB8", "BGR8", "BGRa8", "BayerGB8", "BayerRG12", "RGB16",
     "RGBa10", "Mono32f", "RGB32f"],
)  # fmt: skip
def test_every_kind_of_format_end_to_end(tmp_path: Path, name: str) -> None:
    window = (0.0, 1.0) if name.endswith("f") else None
    made = declared_engine(
        tmp_path, FrameSettings(name, window=window), make=lambda seed: frame_of(name, seed)
    )
    engine = read_engine(made)
    spec = engine.manifest.input
    assert spec is not None
    assert (engine.manifest.format_version, spec.pixel_format) == (3, name)
    assert spec.frame_size == SIZE
    pixels = PIXEL_FORMATS[name]
    golden = engine.tensors["golden/frames"]
    assert golden.dtype.name == pixels.dtype
    assert golden.shape[3:] == ((pixels.channels,) if pixels.channels > 1 else ())
    runtime = Runtime(engine)
    assert runtime.info["golden_drift"] < 1e-5
    # A line's frame scores what calibration scored: the file was the frame.
    files = sorted((tmp_path / "good").iterdir())
    scores = {runtime.infer(read_frame(path, name)).score for path in files}
    assert {float(score) for score in engine.tensors["calibration/scores"]} <= scores
    changed = frame_of(name, 3)
    for row in range(20, 52, 8):
        changed[row : row + 4, 30:70] = changed.max()
        changed[row + 4 : row + 8, 30:70] = changed.min()
    assert runtime.infer(changed).score > max(scores)
    shown = runtime.picture(changed)
    assert (shown.shape, shown.dtype) == ((*SIZE, 3), np.uint8)


def test_deep_frames_score_as_their_8_bits(tmp_path: Path) -> None:
    """Values that a window maps to whole levels: the engine of 12 bits is that of 8."""
    deep = declared_engine(
        tmp_path / "12",
        FrameSettings("Mono12", window=(0.0, 4080.0)),
        make=lambda seed: texture(SIZE, seed)[..., 0].astype(np.uint16) * 16,
    )
    plain = declared_engine(
        tmp_path / "8", FrameSettings("Mono8"), make=lambda seed: texture(SIZE, seed)[..., 0]
    )
    one, other = read_engine(deep).tensors, read_engine(plain).tensors
    for name in ("bank/features", "bank/sources", "calibration/scores", "calibration/map_maxima"):
        np.testing.assert_array_equal(one[name], other[name])


def test_nothing_said_is_nothing_declared(tmp_path: Path, tiny: TinyEngine) -> None:
    assert train(tmp_path, tiny).code == 0
    plain = read_engine(tmp_path / "e.pyad")
    assert (plain.manifest.format_version, plain.manifest.input) == (1, None)
    assert train(tmp_path, tiny, "--pixel-format", "RGB8").code == 0
    declared = read_engine(tmp_path / "e.pyad")
    assert declared.manifest.format_version == 3
    for name, tensor in plain.tensors.items():
        if not name.startswith("golden"):
            np.testing.assert_array_equal(declared.tensors[name], tensor)


@pytest.mark.parametrize(
    "options",
    [
        ("--size-policy", "letterbox", "--padding", 90),
        ("--size-policy", "tile", "--tile", 64, "--overlap", "32x16"),
        ("--mask", "roi"),
        ("--size-policy", "tile", "--mask", "roi"),
    ],
)
def test_eval_and_overlays(tmp_path: Path, tiny: TinyEngine, options: tuple[object, ...]) -> None:
    roi = np.zeros((96, 96), np.uint8)
    roi[8:80, 12:90] = 255
    cv2.imwrite(str(tmp_path / "roi.png"), roi)
    given = [tmp_path / "roi.png" if option == "roi" else option for option in options]
    trained = train(tmp_path, tiny, *given)
    assert trained.code == 0, trained.err
    saved = tmp_path / "overlays"
    answer = call("eval", tmp_path / "e.pyad", "--data", tiny.data, "--json", "--save", saved)
    assert answer.code == 0, answer.err
    report = json.loads(answer.out)
    assert report["pixel_auroc"] > 0.5
    assert ("region of interest" in " ".join(report["notes"])) == ("roi" in options)
    runtime = Runtime(tmp_path / "e.pyad")
    for picture in tiny.scores:
        place = Path(picture)
        frame = read_image(place)
        assert report["scores"][f"{place.parent.name}/{place.name}"] == runtime.infer(frame).score
        assert read_image(saved / place.parent.name / f"{place.name}.png").shape[2] == 3


def test_ground_truth_on_a_map_of_its_own_geometry(tmp_path: Path) -> None:
    mask = np.zeros((60, 80), np.uint8)
    mask[10:30, 20:50] = 255
    path = tmp_path / "m.png"
    cv2.imwrite(str(path), mask)
    whole = (0.0, 0.0, 80.0, 60.0)
    same = read_mask_at(path, box=whole, map_size=(60, 80), picture_size=(60, 80))
    np.testing.assert_array_equal(same, mask > 0)
    half = read_mask_at(path, box=whole, map_size=(30, 40), picture_size=(60, 80))
    np.testing.assert_array_equal(half, read_mask(path, resize=(30, 40)))
    # Letterboxed into 80 x 80: ten rows above and below.
    boxed = read_mask_at(
        path, box=(0.0, -10.0, 80.0, 80.0), map_size=(80, 80), picture_size=(60, 80)
    )
    np.testing.assert_array_equal(boxed, np.pad(mask > 0, ((10, 10), (0, 0))))
    with pytest.raises(DataError, match="its picture 81x60"):
        read_mask_at(path, box=whole, map_size=(60, 80), picture_size=(60, 81))


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--pixel-format", "Mono12p"), "unknown --pixel-format 'Mono12p'. Known are"),
        (("--pixel-format", "Mono8", "--window", "0:255"), "8 bits, so it takes no window"),
        (("--pixel-format", "Mono12", "--window", "0:4096"), "whole numbers from 0 to 4095"),
        (("--pixel-format", "Mono12", "--window", "100"), "BLACK:WHITE, such as 0:4095, got '100'"),
        (("--pixel-format", "Mono12", "--window", "9:9"), r"black \(9\) is not below"),
        (("--pixel-format", "Mono32f"), "no window says what is black and white"),
        (("--pixel-format", "Mono32f", "--window", "nan:1"), "is not below"),
        (("--tile", 64), "--tile belongs to --size-policy tile, got --size-policy resize"),
        (("--padding", 3), "--padding belongs to --size-policy letterbox"),
        (("--size-policy", "letterbox", "--padding", 256), "--padding of 0 to 255, got 256"),
        (("--size-policy", "letterbox", "--crop", 32), "takes neither --crop nor"),
        (("--size-policy", "tile", "--tile", 61), "tiles can begin every 61 pixels"),
        (("--size-policy", "tile", "--overlap", 64), "an --overlap of at most 48"),
        (("--size-policy", "tile", "--tile", 2048), "a --tile of 8 to 1024"),
    ],
)
def test_options_that_cannot_be_used(
    tmp_path: Path, tiny: TinyEngine, options: tuple[object, ...], reason: str
) -> None:
    answer = train(tmp_path, tiny, *options)
    assert answer.code == 2
    assert re.search(reason, " ".join(answer.sentence.split())), answer.sentence
    assert not (tmp_path / "e.pyad").exists()


def test_pictures_that_do_not_fit(tmp_path: Path, tiny: TinyEngine) -> None:
    answer = train(tmp_path, tiny, "--pixel-format", "Mono12")
    assert answer.code == 3
    assert "10 of 10 pictures cannot be used" in answer.sentence
    assert "expected a Mono12 frame" in answer.sentence
    answer = train(tmp_path, tiny, "--size-policy", "tile", "--tile", 128)
    assert answer.code == 3
    assert "at least one tile, 128 x 128 pixels, got 96 x 96" in " ".join(answer.sentence.split())


def test_error_needs_pictures_of_one_size(tmp_path: Path, tiny: TinyEngine) -> None:
    data = tmp_path / "good"
    shutil.copytree(tiny.data / "train/good", data)
    write_files(data / "more", [texture((50, 60), 1)])
    shutil.move(data / "more" / "000.png", data / "other.png")
    answer = train(tmp_path, tiny, "--size-policy", "error", data=data)
    assert answer.code == 2
    assert "pictures of one size, got 2 sizes: 60x50, 96x96" in " ".join(answer.sentence.split())


def test_masks_that_cannot_be_used(tmp_path: Path, tiny: TinyEngine) -> None:
    cv2.imwrite(str(tmp_path / "black.png"), np.zeros((96, 96), np.uint8))
    cv2.imwrite(str(tmp_path / "small.png"), np.full((48, 96), 255, np.uint8))
    for name, reason in (
        ("black.png", "leaves nothing to inspect"),
        ("small.png", "of the pictures' 96 x 96 pixels, got 96 x 48"),
        ("missing.png", "does not exist"),
    ):
        answer = train(tmp_path, tiny, "--mask", tmp_path / name)
        assert answer.code in (2, 3)
        assert reason in " ".join(answer.sentence.split())


def test_an_index_needs_whole_pictures(tmp_path: Path, tiny: TinyEngine) -> None:
    pytest.importorskip("faiss")
    with pytest.raises(SettingError, match="measured on whole pictures, got --size-policy tile"):
        declared_engine(
            tmp_path,
            FrameSettings(size_policy="tile"),
            size=(128, 128),
            coreset=1.0,
            index="ivfpq",
            nlist=4,
            pq_nbits=4,
        )
    path = declared_engine(
        tmp_path / "mono",
        FrameSettings("Mono8"),
        make=lambda seed: texture((128, 128), seed)[..., 0],
        resize=(96, 96),
        coreset=1.0,
        index="ivfpq",
        nlist=4,
        pq_nbits=4,
    )
    assert read_engine(path).manifest.format_version == 3
    assert Runtime(path).infer(texture((128, 128), 50)[..., 0]).score > 0
