"""Files as frames of a declared format: what was stored comes back, or a sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from pyad_edge import DataError, read_image
from pyad_edge.frame_files import read_frame
from pyad_edge.pixel_formats import PIXEL_FORMATS

SIZE = (11, 13)
RNG = np.random.default_rng(4)


def values(name: str) -> np.ndarray[Any, Any]:
    pixels = PIXEL_FORMATS[name]
    shape = SIZE if pixels.channels == 1 else (*SIZE, pixels.channels)
    if pixels.dtype == "float32":
        return RNG.normal(size=shape).astype(np.float32)
    return RNG.integers(0, 1 << pixels.bits, shape).astype(pixels.dtype)


def store(path: Path, frame: np.ndarray[Any, Any], kind: str) -> Path:
    """A frame with its colours in ``kind``'s order, through OpenCV, which stores BGR."""
    stored = frame
    if frame.ndim == 3 and kind != "bgr":
        stored = frame[..., [2, 1, 0, 3][: frame.shape[2]]]
    assert cv2.imwrite(str(path), stored)
    return path


@pytest.mark.parametrize("name", PIXEL_FORMATS)
@pytest.mark.parametrize("suffix", ["png", "tiff"])
def test_what_was_stored_comes_back(tmp_path: Path, name: str, suffix: str) -> None:
    pixels = PIXEL_FORMATS[name]
    frame = values(name)
    if pixels.dtype == "float32":
        suffix = "tif"
    path = store(tmp_path / f"f.{suffix}", frame, pixels.kind)
    found = read_frame(path, name)
    assert found.flags.c_contiguous
    assert found.dtype == frame.dtype
    np.testing.assert_array_equal(found, frame)


def test_portable_maps_of_16_bits(tmp_path: Path) -> None:
    frame = values("Mono16")
    path = store(tmp_path / "f.pgm", frame, "mono")
    np.testing.assert_array_equal(read_frame(path, "Mono16"), frame)


def test_big_endian_tiff(tmp_path: Path) -> None:
    frame = values("Mono12")
    size = (SIZE[1], SIZE[0])
    Image.frombytes("I;16B", size, frame.astype(">u2").tobytes()).save(tmp_path / "f.tiff")
    found = read_frame(tmp_path / "f.tiff", "Mono12")
    assert found.dtype == np.dtype("<u2")
    np.testing.assert_array_equal(found, frame)


def test_pictures_without_alpha_are_opaque(tmp_path: Path) -> None:
    frame = values("RGB8")
    path = store(tmp_path / "f.png", frame, "rgb")
    found = read_frame(path, "BGRa8")
    np.testing.assert_array_equal(found[..., :3], frame[..., ::-1])
    assert (found[..., 3] == 255).all()
    np.testing.assert_array_equal(read_frame(path), read_image(path))


def test_transparency_needs_a_format_with_alpha(tmp_path: Path) -> None:
    frame = values("RGBa8")
    frame[..., 3] = 7
    path = store(tmp_path / "f.png", frame, "rgb")
    np.testing.assert_array_equal(read_frame(path, "RGBa8"), frame)
    with pytest.raises(DataError, match=r"is no RGB8 frame\. Flatten it"):
        read_frame(path, "RGB8")


@pytest.mark.parametrize(
    ("stored", "asked", "found"),
    [
        ("Mono8", "Mono12", "uint8 of shape"),
        ("Mono16", "Mono8", "uint16 of shape"),
        ("RGB8", "Mono8", r"uint8 of shape \(11, 13, 3\)"),
        ("RGB8", "BayerRG8", r"uint8 of shape \(11, 13, 3\)"),
        ("RGB16", "Mono16", r"uint16 of shape \(11, 13, 3\)"),
        ("Mono16", "RGB16", r"uint16 of shape \(11, 13\)"),
        ("Mono16", "Mono32f", "uint16 of shape"),
        ("RGB8", "RGB16", "uint8 of shape"),
    ],
)
def test_files_of_another_kind(tmp_path: Path, stored: str, asked: str, found: str) -> None:
    path = store(tmp_path / "f.png", values(stored), "rgb")
    with pytest.raises(DataError, match=rf"f\.png has {found}.*expected a {asked} frame"):
        read_frame(path, asked)


def test_a_turned_mosaic_is_refused(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(values("Mono8")).save(tmp_path / "f.png", exif=exif)
    with pytest.raises(DataError, match="EXIF orientation, which would shift its mosaic"):
        read_frame(tmp_path / "f.png", "BayerGB8")


@pytest.mark.parametrize("name", ["Mono16", "RGB16", "RGBa8", "Mono32f", "RGB32f"])
def test_damaged_files(tmp_path: Path, name: str) -> None:
    suffix = "tiff" if name.endswith("f") else "png"
    path = store(tmp_path / f"f.{suffix}", values(name), "rgb")
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(DataError, match="damaged"):
        read_frame(path, name)
    path.write_bytes(b"")
    with pytest.raises(DataError, match="is empty"):
        read_frame(path, name)
    path.unlink()
    with pytest.raises(DataError, match=r"does not exist|No such file"):
        read_frame(path, name)


def test_sixteen_bits_without_a_format_stay_refused(tmp_path: Path) -> None:
    path = store(tmp_path / "f.png", values("Mono16"), "mono")
    with pytest.raises(DataError, match="expected 8 bits a channel"):
        read_frame(path)
