"""read_image and list_images: one result for every mode, a sentence for everything else."""

from __future__ import annotations

import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pyad_edge.errors import DataError
from pyad_edge.images import list_images, read_image

PIXELS = np.random.default_rng(0).integers(0, 256, (7, 11, 3), dtype=np.uint8)


def save(path: Path, picture: Image.Image, **options: object) -> Path:
    picture.save(path, **options)
    return path


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "ppm"])
def test_lossless_formats_return_the_very_pixels(tmp_path: Path, suffix: str) -> None:
    image = read_image(save(tmp_path / f"a.{suffix}", Image.fromarray(PIXELS)))
    assert image.dtype == np.uint8
    assert image.flags.c_contiguous
    assert image.flags.writeable
    np.testing.assert_array_equal(image, PIXELS)


def test_jpeg_and_webp_are_read(tmp_path: Path) -> None:
    smooth = np.full((16, 16, 3), (200, 100, 50), np.uint8)
    for name in ("a.jpg", "a.webp"):
        image = read_image(save(tmp_path / name, Image.fromarray(smooth), quality=95))
        assert np.abs(image.astype(int) - smooth).max() <= 6


@pytest.mark.parametrize("mode", ["L", "1", "P", "LA", "RGBA", "CMYK"])
def test_modes_become_rgb(tmp_path: Path, mode: str) -> None:
    grey = np.repeat(np.where(PIXELS[..., :1] > 127, 255, 0).astype(np.uint8), 3, axis=2)
    picture = Image.fromarray(grey).convert(mode)
    name = "a.tif" if mode == "CMYK" else "a.png"
    np.testing.assert_array_equal(read_image(save(tmp_path / name, picture)), grey)


def test_palette_with_opaque_transparency_table(tmp_path: Path) -> None:
    picture = Image.fromarray(PIXELS).convert("P")
    expected = np.array(picture.convert("RGB"))
    path = save(tmp_path / "a.png", picture, transparency=bytes([255] * 256))
    np.testing.assert_array_equal(read_image(path), expected)


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_real_transparency_is_refused(tmp_path: Path, mode: str) -> None:
    picture = Image.fromarray(PIXELS).convert(mode)
    picture.putpixel((3, 2), (*picture.getpixel((3, 2))[:-1], 128))
    with pytest.raises(DataError, match=r"a\.png is transparent .*alpha 128.*Flatten"):
        read_image(save(tmp_path / "a.png", picture))


def test_palette_transparency_is_refused(tmp_path: Path) -> None:
    picture = Image.fromarray(np.zeros((4, 4), np.uint8)).convert("P")
    with pytest.raises(DataError, match="transparent"):
        read_image(save(tmp_path / "a.png", picture, transparency=0))


def png_rgb16(path: Path) -> Path:
    """A PNG with 16 bits a channel, which Pillow itself would cut to 8 without a word."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        checksum = zlib.crc32(kind + body)
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", checksum)

    header = struct.pack(">IIBBBBB", 3, 2, 16, 2, 0, 0, 0)
    rows = b"".join(b"\0" + bytes(range(18)) for _ in range(2))
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    return path


@pytest.mark.parametrize("kind", ["grey16", "rgb16", "ppm16", "float", "int32"])
def test_more_than_eight_bits_is_refused(tmp_path: Path, kind: str) -> None:
    if kind == "grey16":
        path = save(tmp_path / "a.png", Image.fromarray(PIXELS[..., 0].astype(np.uint16) * 257))
    elif kind == "rgb16":
        path = png_rgb16(tmp_path / "a.png")
    elif kind == "ppm16":
        path = tmp_path / "a.ppm"
        path.write_bytes(b"P6 2 1 65535\n" + bytes(12))
    elif kind == "float":
        path = save(tmp_path / "a.tif", Image.fromarray(PIXELS[..., 0].astype(np.float32)))
    else:
        path = save(tmp_path / "a.tif", Image.fromarray(PIXELS[..., 0].astype(np.int32)))
    with pytest.raises(DataError, match=r"pixel mode .*expected 8 bits a channel.*fixed range"):
        read_image(path)


def test_exif_orientation_is_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned; the picture is to be shown turned clockwise
    path = save(tmp_path / "a.png", Image.fromarray(PIXELS), exif=exif)
    np.testing.assert_array_equal(read_image(path), np.rot90(PIXELS, -1))


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "tif", "webp"])
def test_truncated_at_any_length(tmp_path: Path, suffix: str) -> None:
    """Either a sentence, or (only the file's trailer is missing) the whole picture."""
    noise = np.random.default_rng(1).integers(0, 256, (24, 24, 3), dtype=np.uint8)
    whole = save(tmp_path / f"whole.{suffix}", Image.fromarray(noise))
    content, expected = whole.read_bytes(), read_image(whole)
    cut, refused = tmp_path / f"cut.{suffix}", 0
    for length in range(1, len(content) - 1, 7):
        cut.write_bytes(content[:length])
        try:
            image = read_image(cut)
        except DataError:
            refused += 1
        else:
            np.testing.assert_array_equal(image, expected, err_msg=f"first {length} bytes")
    assert refused > 0.8 * len(content) / 7


def test_flipped_bytes_never_raise_anything_else(tmp_path: Path) -> None:
    for suffix in ("png", "jpg", "tif", "bmp", "webp"):
        whole = save(tmp_path / f"whole.{suffix}", Image.fromarray(PIXELS))
        content = whole.read_bytes()
        path = tmp_path / f"flipped.{suffix}"
        outcomes = set()
        for place in range(0, len(content), 5):
            flipped = bytearray(content)
            flipped[place] ^= 0xFF
            path.write_bytes(flipped)
            try:
                outcomes.add(read_image(path).dtype)
            except DataError:
                outcomes.add(DataError)
        assert DataError in outcomes


def test_what_is_no_picture(tmp_path: Path) -> None:
    (tmp_path / "zero.png").touch()
    (tmp_path / "text.png").write_text("not a picture")
    with pytest.raises(DataError, match=r"zero\.png is empty \(0 bytes\)"):
        read_image(tmp_path / "zero.png")
    with pytest.raises(DataError, match=r"text\.png is not a picture .*PNG"):
        read_image(tmp_path / "text.png")
    with pytest.raises(DataError, match=r"none\.png does not exist"):
        read_image(tmp_path / "none.png")
    with pytest.raises(DataError, match="is a folder"):
        read_image(tmp_path)


def test_several_pages_are_refused(tmp_path: Path) -> None:
    page = Image.fromarray(PIXELS)
    path = save(tmp_path / "a.tif", page, save_all=True, append_images=[page, page])
    with pytest.raises(DataError, match="holds 3 pictures, expected one a file"):
        read_image(path)


@pytest.mark.parametrize("limit", [30, 70])
def test_decompression_bomb_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    """Pillow warns above its limit (77 > 70) and raises above twice the limit; both are refused."""
    path = save(tmp_path / "a.png", Image.fromarray(PIXELS))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    with pytest.raises(DataError, match=r"more than \d+ pixels"):
        read_image(path)


def test_threads_read_at_once(tmp_path: Path) -> None:
    paths = [save(tmp_path / f"{i}.png", Image.fromarray(PIXELS + i)) for i in range(16)]
    with ThreadPoolExecutor(8) as pool:
        images = list(pool.map(read_image, paths * 4))
    for i, image in enumerate(images):
        np.testing.assert_array_equal(image, PIXELS + i % 16)


def test_list_images_sorts_and_filters(tmp_path: Path) -> None:
    for name in ("b.PNG", "a.jpg", "c.txt", ".hidden.png", "sub/d.png", ".cache/e.png"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    (tmp_path / "folder.png").mkdir()
    assert [p.name for p in list_images(tmp_path)] == ["a.jpg", "b.PNG"]
    assert [p.name for p in list_images(tmp_path, recursive=True)] == ["a.jpg", "b.PNG", "d.png"]


def test_list_images_errors(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        list_images(tmp_path / "none")
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="is a file, expected a folder"):
        list_images(tmp_path / "file")
