"""Cheap measures of a picture for the input gate; each looks at a sample of the pixels.

A plane is (H, W): the picture itself where it is mono, else its second channel (green).
"""

from __future__ import annotations

from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = [
    "RowHistory",
    "busy_rows",
    "has_structure",
    "plane_of",
    "sample_of",
    "seam_ratio",
    "sharpness",
]

Plane: TypeAlias = NDArray[Any]

_SAMPLES = 64  # rows and columns of the grid that brightness is measured on
_COLUMNS = 80  # that the seam is looked for in
_REACH = 3  # rows above and below that a seam is compared with
_STRIPS = 4
_STRUCTURE = 4.0  # variance of grey levels; less is no picture of anything
_ROWS = 64  # that are compared with the rows of earlier frames


def plane_of(image: NDArray[Any], *, mosaic: bool = False) -> Plane:
    """(H, W) view of one channel; (H / 2, W / 2) of one colour of a Bayer mosaic."""
    plane = image if image.ndim == 2 else image[..., min(image.shape[2] // 2, 1)]
    return plane[::2, ::2] if mosaic else plane


def sample_of(plane: Plane) -> Plane:
    """A grid of about 64 x 64 pixels."""
    H, W = plane.shape
    return plane[:: max(1, H // _SAMPLES), :: max(1, W // _SAMPLES)]


def seam_ratio(plane: Plane, *, full_scale: float) -> float:
    """How much one step from row to row stands out from the steps around it.

    A step is the mean absolute difference of two neighbouring rows. Edges of a real scene are
    spread over two or more rows by lens and sensor, a seam between two frames is not:

        max over r of  d[r] / (max of d[r-3 .. r+3] without d[r]  +  2/255 of the full scale)

    Args:
        plane: (H, W), H at least 16.
        full_scale: largest value of the pixels.
    """
    H, W = plane.shape
    if H < 16:
        return 0.0
    step = max(1, W // _COLUMNS)
    columns = _for_opencv(plane[:, step // 2 :: step])
    steps = cv2.absdiff(columns[1:], columns[:-1])
    # Not cv2.reduce: of each thread that ever called it OpenCV 5.0 keeps 0.9 kB, and every new
    # connection to a camera is a new thread.
    d = steps.mean(axis=1, dtype=np.float32)
    padded = np.pad(d, _REACH, mode="reflect")
    around = np.zeros_like(d)
    for shift in range(2 * _REACH + 1):
        if shift != _REACH:
            np.maximum(around, padded[shift : shift + d.size], out=around)
    ratio = d / (around + np.float32(full_scale * 2.0 / 255.0))
    return float(ratio[4:-4].max())


def sharpness(plane: Plane, *, full_scale: float) -> float:
    """Variance of the Laplacian over the variance of the picture, in four strips of rows.

    The division makes it independent of the lighting's strength.

    Args:
        plane: (H, W).
        full_scale: largest value of the pixels.

    Returns:
        Infinity where the strips hold no structure, sharp or not (less than two of 255 levels in
        every strip, as of a background that is saturated, or drawn): that cannot be judged.
    """
    H = plane.shape[0]
    rows = max(min(H // 32, 32), min(8, H))
    fine = coarse = most = 0.0
    for n in range(_STRIPS):
        top = (H - rows) * (2 * n + 1) // (2 * _STRIPS)
        strip = np.ascontiguousarray(plane[top : top + rows])
        if strip.dtype != np.uint8:
            strip = (strip * (255.0 / full_scale)).astype(np.float32)
        depth = cv2.CV_16S if strip.dtype == np.uint8 else cv2.CV_32F
        fine += float(cv2.meanStdDev(cv2.Laplacian(strip, depth))[1][0, 0]) ** 2
        variance = float(cv2.meanStdDev(strip)[1][0, 0]) ** 2
        coarse, most = coarse + variance, max(most, variance)
    if most < _STRUCTURE:
        return float("inf")
    return fine / (coarse + 4.0 * _STRIPS)


def has_structure(plane: Plane, *, full_scale: float) -> bool:
    """Whether there is anything to be seen, on a grid of the whole plane."""
    sample = sample_of(plane).astype(np.float32)
    return bool(sample.var() >= _STRUCTURE * (full_scale / 255.0) ** 2)


def busy_rows(plane: Plane) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """A signature for each of about 64 rows, and whether the row has structure.

    Equal rows have equal signatures; rows with structure that differ, practically never.

    Returns:
        (R,) float32 and (R,) bool.
    """
    H, W = plane.shape
    rows = _for_opencv(plane[:: max(1, H // _ROWS), :: 1 if W < 320 else 2])
    busy = (rows != rows[:, :1]).any(axis=1)
    return rows.astype(np.float32) @ _weights(rows.shape[1]), busy


def _for_opencv(plane: Plane) -> Plane:
    """Contiguous, of a type that OpenCV computes with."""
    known = plane.dtype in (np.uint8, np.uint16, np.float32)
    return np.ascontiguousarray(plane, dtype=None if known else np.float32)


class RowHistory:
    """Finds rows that are those of an earlier frame: a buffer that was not written to its end.

    Keeps signatures of the last four frames, not the frames. Rows of one value are left out, as
    they are equal in any two frames where the background is dark or saturated.
    """

    def __init__(self, depth: int = 4) -> None:
        self._depth = depth
        self._frames: list[NDArray[np.float32]] = []

    def stale_part(self, plane: Plane) -> float | None:
        """Look at a frame and remember it.

        Returns:
            Position of the seam, 0 (top) to 1, where the rows on one side are those of one earlier
            frame and none on the other side is; None where there is no seam.
        """
        signatures, busy = busy_rows(plane)
        found = None
        for earlier in self._frames:
            if earlier.shape == signatures.shape and found is None:
                found = _boundary((signatures == earlier)[busy], np.flatnonzero(busy), busy.size)
        self._frames = [*self._frames[-self._depth + 1 :], signatures]
        return found


def _boundary(equal: NDArray[np.bool_], rows: NDArray[np.intp], count: int) -> float | None:
    """The seam between rows that are equal and rows that are not; None unless there is one."""
    changes = np.flatnonzero(equal[1:] != equal[:-1])
    if changes.size != 1:
        return None
    stale = int(equal.sum())
    if stale < 3 or equal.size - stale < 3:
        return None
    return float(rows[changes[0] + 1] / count)


_cache: dict[int, NDArray[np.float32]] = {}


def _weights(width: int) -> NDArray[np.float32]:
    if width not in _cache:
        if len(_cache) > 64:
            _cache.clear()
        values = np.random.default_rng(width).uniform(0.5, 1.5, width)
        _cache[width] = values.astype(np.float32)
    return _cache[width]
