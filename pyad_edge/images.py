"""Reading still pictures: one decoder, one result (uint8 RGB), no silent repair.

Pillow decodes files here rather than OpenCV, because OpenCV returns a truncated JPEG as a
picture whose lower part is grey; such a picture in a training folder would become "normal".
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from pyad_edge.errors import DataError

__all__ = ["IMAGE_SUFFIXES", "guarded_picture", "list_images", "read_image"]

IMAGE_SUFFIXES = (
    ".bmp", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp",
)  # fmt: skip
_FORMATS = ("BMP", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
_PLAIN_MODES = ("1", "L", "RGB", "CMYK", "YCbCr")
_ALPHA_MODES = ("LA", "PA", "RGBA")

# warnings.catch_warnings swaps a process-wide list; two threads inside it at once could leave
# each other's filters behind. Headers and EXIF are read under the lock, pixels are not.
_header_lock = threading.Lock()


def read_image(path: str | Path) -> npt.NDArray[np.uint8]:
    """Read one picture file as RGB.

    EXIF orientation is applied. Palette, mono, 1-bit, CMYK and fully opaque alpha pictures
    become RGB; what cannot become 8-bit RGB without a guess is refused.

    Args:
        path: A BMP, JPEG, PNG, PNM, TIFF or WebP file with one picture in it.

    Returns:
        (H, W, 3) uint8, RGB, C-contiguous.

    Raises:
        DataError: The file is missing, empty, truncated, no picture, larger than Pillow's
            pixel limit, holds several pages, more than 8 bits a channel, or real transparency.
    """
    path = Path(path)
    with guarded_picture(path) as picture:
        return _to_rgb(picture, path)


@contextmanager
def guarded_picture(path: Path, *, deep: bool = False) -> Iterator[Image.Image]:
    """A picture file, open and decoded, for the length of a ``with`` block.

    Args:
        path: one picture.
        deep: whether modes are left to the caller, more than 8 bits a channel included.

    Raises:
        DataError: for everything that goes wrong, in the block as well, in whole sentences.
    """
    try:
        if path.is_dir():
            raise DataError(f"[read_image] {path} is a folder, expected one picture file.")
        if path.stat().st_size == 0:
            raise DataError(
                f"[read_image] {path} is empty (0 bytes). Copy the picture again or remove it."
            )
        # Our own handle: Pillow leaves its open when a header fails half-way.
        with path.open("rb") as file, _open(file, path, deep) as picture:
            picture.load()
            yield picture
    except DataError:
        raise
    except FileNotFoundError:
        raise DataError(f"[read_image] {path} does not exist. Check the path's spelling.") from None
    except PermissionError:
        raise DataError(
            f"[read_image] {path} may not be read. Change its permissions or the user."
        ) from None
    except UnidentifiedImageError:
        raise DataError(
            f"[read_image] {path} is not a picture that can be read here (one of "
            f"{', '.join(_FORMATS)}), or its header is damaged. Convert it or remove it."
        ) from None
    except MemoryError:
        raise
    except Exception as error:  # Pillow's plugins raise a dozen kinds for damaged files
        raise DataError(
            f"[read_image] {path} is truncated or damaged ({_first_line(error)}). "
            "Copy the picture again or remove it."
        ) from None


def list_images(folder: str | Path, *, recursive: bool = False) -> list[Path]:
    """List the picture files of a folder, sorted by their path below it.

    Files are recognised by their suffix (``IMAGE_SUFFIXES``, any case); names that begin with a
    dot are left out.

    Args:
        folder: An existing folder.
        recursive: Descend into sub-folders as well.

    Returns:
        Sorted paths; empty if the folder holds no picture.

    Raises:
        DataError: The folder is missing, unreadable, or is a file.
    """
    folder = Path(folder)
    try:
        if not folder.exists():
            raise DataError(
                f"[list_images] folder {folder} does not exist. Check the path's spelling."
            )
        if not folder.is_dir():
            raise DataError(f"[list_images] {folder} is a file, expected a folder of pictures.")
        found = []
        for path in folder.rglob("*") if recursive else folder.iterdir():
            below = path.relative_to(folder)
            hidden = any(part.startswith(".") for part in below.parts)
            if not hidden and path.suffix.lower() in IMAGE_SUFFIXES and path.is_file():
                found.append((below.as_posix(), path))
    except PermissionError:
        raise DataError(
            f"[list_images] folder {folder} may not be read. Change its permissions or the user."
        ) from None
    return [path for _, path in sorted(found)]


def _open(file: IO[bytes], path: Path, deep: bool) -> Image.Image:
    """Read the header and refuse what must not be decoded; warnings become errors or silence."""
    with _header_lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            picture = Image.open(file, formats=_FORMATS)
        except (Image.DecompressionBombError, Image.DecompressionBombWarning):
            raise DataError(
                f"[read_image] {path} has more than {Image.MAX_IMAGE_PIXELS} pixels, the limit "
                "that protects from decompression bombs. Cut it into tiles or scale it down."
            ) from None
        _refuse_unfit(picture, path, deep)
    return picture


def _refuse_unfit(picture: Image.Image, path: Path, deep: bool) -> None:
    # An MPO file (phones, stereo cameras) is a JPEG whose first picture is the photograph.
    frames = 1 if picture.format == "MPO" else getattr(picture, "n_frames", 1)
    if frames != 1:
        raise DataError(
            f"[read_image] {path} holds {frames} pictures, expected one a file. "
            "Save each page or frame to a file of its own."
        )
    if deep:
        return
    if picture.mode not in (*_PLAIN_MODES, *_ALPHA_MODES, "P") or _is_deep(picture):
        mode = picture.mode if not _is_deep(picture) else f"{picture.mode}, 16 bits a channel"
        raise DataError(
            f"[read_image] {path} has pixel mode {mode}, expected 8 bits a channel. "
            "Scale it to 8 bits with a fixed range (the same for every picture) and save it again."
        )


def _is_deep(picture: Image.Image) -> bool:
    """Whether Pillow would drop bits: it reads 16-bit colour PNG, TIFF and PPM as 8-bit RGB."""
    tiles: list[Any] = getattr(picture, "tile", [])
    for codec, _, _, arguments in tiles:
        values = arguments if isinstance(arguments, tuple) else (arguments,)
        if any(isinstance(v, str) and v.endswith((";16B", ";16L", ";16N")) for v in values):
            return True
        if codec.startswith("ppm") and any(isinstance(v, int) and v > 255 for v in values):
            return True
    return False


def _to_rgb(picture: Image.Image, path: Path) -> npt.NDArray[np.uint8]:
    if picture.mode in _ALPHA_MODES or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        lowest = picture.getchannel("A").getextrema()[0]
        if lowest != 255:
            raise DataError(
                f"[read_image] {path} is transparent in places (smallest alpha {lowest}), so its "
                "colours depend on a background. Flatten it onto the background you mean."
            )
    with _header_lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # damaged EXIF: Pillow reads what it can
        picture = ImageOps.exif_transpose(picture)
    return np.array(picture.convert("RGB"), dtype=np.uint8, order="C")


def _first_line(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__
