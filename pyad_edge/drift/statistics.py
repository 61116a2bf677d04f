"""Measures of a frame that change with light, lens and place, and hardly with the part."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pyad_edge.streaming.measures import plane_of, sample_of, sharpness

__all__ = ["CELLS", "FrameMeasures", "displacement", "measure_frame"]

CELLS = 32  # rows and columns of the thumbnail that positions are measured on
_DARK, _BRIGHT = 0.06, 0.98  # of the full scale, as the input gate has them
_FLOOR = 1.0 / 255.0  # one of 255 levels keeps logarithms of black frames finite


@dataclass(frozen=True, eq=False)
class FrameMeasures:
    """Measures of one frame.

    Attributes:
        values: by chart: logarithms of ``brightness``, ``contrast`` (standard deviation over mean)
            and ``sharpness`` (variance of the Laplacian over variance); shares ``dark`` and
            ``saturated``; of colour frames the logarithms ``balance_0`` and ``balance_2`` of the
            first and third channel's mean over the second's.
        thumbnail: (CELLS, CELLS) float32, zero mean and unit variance.
    """

    values: Mapping[str, float]
    thumbnail: NDArray[np.float32]


def measure_frame(image: NDArray[Any], *, full_scale: float, mosaic: bool = False) -> FrameMeasures:
    """Measure one frame: means over all pixels, shares and sharpness on the input gate's samples.

    Args:
        image: (H, W) or (H, W, C) uint8, uint16 or float32.
        full_scale: largest value of the pixels.
        mosaic: whether it is a Bayer mosaic; one of its colours is then measured.
    """
    plane = np.ascontiguousarray(plane_of(image, mosaic=mosaic))
    mean, deviation = (float(v[0, 0]) / full_scale for v in cv2.meanStdDev(plane))
    sample = sample_of(plane)
    sharp = sharpness(plane, full_scale=full_scale)
    values = {
        "brightness": math.log(mean + _FLOOR),
        "contrast": math.log((deviation + _FLOOR) / (mean + _FLOOR)),
        # A frame of one level has no sharpness; it is less sharp than all that have one.
        "sharpness": math.log(sharp + 1e-6) if math.isfinite(sharp) else math.log(1e-6),
        "dark": float((sample <= _DARK * full_scale).mean()),
        "saturated": float((sample >= _BRIGHT * full_scale).mean()),
    }
    if image.ndim == 3 and image.shape[2] >= 3:
        channels = np.asarray(cv2.mean(np.ascontiguousarray(image)))[:3] / full_scale + _FLOOR
        values["balance_0"] = math.log(channels[0] / channels[1])
        values["balance_2"] = math.log(channels[2] / channels[1])
    small = cv2.resize(plane, (CELLS, CELLS), interpolation=cv2.INTER_AREA).astype(np.float32)
    spread = float(small.std()) + full_scale * _FLOOR
    return FrameMeasures(values, (small - small.mean()) / np.float32(spread))


def displacement(
    thumbnails: NDArray[np.float32], template: NDArray[np.float32]
) -> NDArray[np.float64]:
    """How far what is seen has moved against the mean of normal pictures, to first order.

    One step of Lucas and Kanade's registration (An Iterative Image Registration Technique, 1981)
    with one displacement for the whole picture: least squares over all cells.

    Args:
        thumbnails: (..., CELLS, CELLS) of frames.
        template: (CELLS, CELLS), their mean over normal frames.

    Returns:
        (..., 2) displacement along x and y, in fractions of the frame's width and height.
    """
    mean = template.astype(np.float64)
    down, right = np.gradient(mean)
    slopes = np.stack([right.ravel(), down.ravel()])  # (2, CELLS²)
    normal = slopes @ slopes.T
    # Keeps a template without structure along one axis from dividing by zero.
    normal += np.eye(2) * (1e-3 * float(np.trace(normal)) + 1e-9)
    rest = mean.ravel() - thumbnails.reshape(*thumbnails.shape[:-2], -1).astype(np.float64)
    return np.asarray(np.linalg.solve(normal, slopes) @ rest[..., None])[..., 0] / CELLS
