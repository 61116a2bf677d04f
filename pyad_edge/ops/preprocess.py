"""Camera pictures to network input: one definition for fitting, calibration and run time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pyad_edge.ops._banded import resize_antialiased
from pyad_edge.ops._checks import MAX_SIDE, whole_sides
from pyad_edge.ops._native import native

__all__ = ["PreprocessPlan", "preprocess"]

_SIZES = 64  # of frames, remembered by a plan


class PreprocessPlan:
    """:func:`preprocess` with its settings checked once, and the sizes that came remembered.

    Thread-safe; a call with ``out`` allocates no memory for data.

    Args:
        resize, mean, std, crop: as for :func:`preprocess`.

    Raises:
        ValueError: if mean or std does not fit.
    """

    def __init__(
        self,
        *,
        resize: int | tuple[int, int],
        mean: Sequence[float],
        std: Sequence[float],
        crop: tuple[int, int] | None = None,
    ) -> None:
        self._resize, self._crop = resize, crop
        self._scale, self._offset = _normalization(mean, std)
        self._axes: dict[tuple[int, int], tuple[Any, Any]] = {}  # by the frame's (H, W)

    def run(
        self,
        image: NDArray[np.uint8],
        *,
        color_order: Literal["rgb", "bgr"] = "rgb",
        out: NDArray[np.float32] | None = None,
    ) -> NDArray[np.float32]:
        """As :func:`preprocess`.

        Raises:
            TypeError: if ``image`` is not uint8 or ``out`` is not float32.
            ValueError: if a shape, size or colour order does not fit.
        """
        frames = _frames(image)
        N, H, W, _ = frames.shape
        if color_order not in ("rgb", "bgr"):
            raise ValueError(
                f"[preprocess] expected color_order 'rgb' or 'bgr', got {color_order!r}. "
                "OpenCV's cameras deliver 'bgr', Pillow 'rgb'."
            )
        rows, columns = self._axes.get((H, W)) or self._plan(H, W)
        shape = (N, 3, rows.rows, columns.rows)
        if out is None:
            out = np.empty(shape, np.float32)
        else:
            _check_out(out, shape)
        if N:
            native.preprocess(
                frames, rows, columns, self._scale, self._offset, color_order == "bgr", out
            )
        return out

    def _plan(self, H: int, W: int) -> tuple[Any, Any]:
        size = _resized(H, W, self._resize)
        (top, bottom), (left, right) = _cropped(size, self._crop)
        if max(bottom - top, right - left) > MAX_SIDE:
            raise ValueError(
                f"[preprocess] expected a result of at most {MAX_SIDE} pixels a side, got "
                f"{(bottom - top, right - left)} from a picture of {(H, W)} with "
                f"resize={self._resize!r}. Give both sides, or a crop."
            )
        axes = (
            resize_antialiased(H, size[0], top, bottom),
            resize_antialiased(W, size[1], left, right),
        )
        if len(self._axes) >= _SIZES:
            self._axes.clear()
        self._axes[H, W] = axes
        return axes


def preprocess(
    image: NDArray[np.uint8],
    *,
    resize: int | tuple[int, int],
    mean: Sequence[float],
    std: Sequence[float],
    crop: tuple[int, int] | None = None,
    color_order: Literal["rgb", "bgr"] = "rgb",
    out: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """Resize, crop, scale to [0, 1] and normalise pictures.

    The resize is antialiased bilinear, as in Pillow and in torchvision with ``antialias=True``, but
    without rounding in between; it is within one grey level of both. Only what the crop keeps is
    computed. The result does not depend on threads, batch size or strides.

    Args:
        image: uint8, (H, W) or (H, W, 1) mono, (H, W, 3), or a batch (N, H, W, 1 or 3). Any
            strides; packed rows (also flipped, cropped, with channels reversed) are read in place.
        resize: (h, w), or the length of the shorter side (the longer is int(side * long / short)),
            each at most 16384 pixels.
        mean: of R, G, B, in units of [0, 1].
        std: of R, G, B, in units of [0, 1].
        crop: (height, width) of a centre crop after the resize; its corner is rounded half to even.
        color_order: order of the channels of ``image``; the result is always RGB.
        out: C-contiguous float32 (N, 3, h, w) to write into.

    Returns:
        (N, 3, h, w) float32, no side above 16384; mono pictures repeat their channel.

    Raises:
        TypeError: if ``image`` is not uint8 or ``out`` is not float32.
        ValueError: if a shape, size, mean, std or colour order does not fit.
    """
    plan = PreprocessPlan(resize=resize, mean=mean, std=std, crop=crop)
    return plan.run(image, color_order=color_order, out=out)


def _frames(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The same pixels as (N, H, W, C), without a copy."""
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
        found = getattr(image, "dtype", type(image).__name__)
        raise TypeError(
            f"[preprocess] expected a picture as a NumPy array of uint8, got {found}. Scale 16-bit "
            "or float pictures to 0..255 first, the same way while fitting and on the line."
        )
    frames = image
    if image.ndim == 2:
        frames = image[None, :, :, None]
    elif image.ndim == 3:
        frames = image[None]
    if frames.ndim != 4 or frames.shape[3] not in (1, 3) or 0 in frames.shape[1:]:
        raise ValueError(
            "[preprocess] expected a picture of shape (H, W), (H, W, 1) or (H, W, 3), or a batch "
            f"(N, H, W, 1 or 3), none of it empty, got {image.shape}. Drop an alpha channel with "
            "image[..., :3]."
        )
    return frames


def _resized(height: int, width: int, resize: int | tuple[int, int]) -> tuple[int, int]:
    sides = whole_sides((resize,) if isinstance(resize, (int, np.integer)) else resize)
    if sides is None or len(sides) not in (1, 2):
        raise ValueError(
            "[preprocess] expected resize as (height, width) or as the shorter side, in whole "
            f"pixels from 1 to {MAX_SIDE}, got {resize!r}."
        )
    if len(sides) == 2:
        return sides[0], sides[1]
    shorter = sides[0]
    if width <= height:
        return int(shorter * height / width), shorter
    return shorter, int(shorter * width / height)


def _cropped(
    size: tuple[int, int], crop: tuple[int, int] | None
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Rows and columns of the resized picture that are kept, as half-open ranges."""
    if crop is None:
        return (0, size[0]), (0, size[1])
    sides = whole_sides(crop)
    if sides is None or len(sides) != 2 or sides[0] > size[0] or sides[1] > size[1]:
        raise ValueError(
            f"[preprocess] expected crop as (height, width) within the resized picture {size}, got "
            f"{crop!r}. Choose a smaller crop or a larger resize."
        )
    top, left = round((size[0] - sides[0]) / 2), round((size[1] - sides[1]) / 2)
    return (top, top + sides[0]), (left, left + sides[1])


def _normalization(mean: Sequence[float], std: Sequence[float]) -> tuple[list[float], list[float]]:
    """Per channel, ``value * scale + offset`` of a grey level."""
    try:
        means, stds = np.asarray(mean, np.float64), np.asarray(std, np.float64)
    except (TypeError, ValueError):  # no numbers
        means = stds = np.empty(0)
    if means.shape == stds.shape == (3,) and np.isfinite(stds).all() and (stds > 0).all():
        with np.errstate(over="ignore"):  # checked below
            factors = np.stack([1.0 / (255.0 * stds), -means / stds])
            fits = bool(np.isfinite(factors.astype(np.float32)).all())  # as the kernel takes them
        # Subnormal numbers would depend on whether the calling thread flushes them to zero.
        least = float(np.finfo(np.float32).tiny)
        factors[1] = np.where(np.abs(factors[1]) < least, 0.0, factors[1])
        fits &= bool((factors[0] >= least).all())
        if fits:
            return factors[0].tolist(), factors[1].tolist()
    raise ValueError(
        "[preprocess] expected finite mean and std of three channels, std above zero, such that "
        "neither 1 / std nor mean / std leaves the range of float32, got "
        f"mean={mean!r}, std={std!r}."
    )


def _check_out(out: NDArray[np.float32], shape: tuple[int, ...]) -> None:
    if not isinstance(out, np.ndarray) or out.dtype != np.float32:
        found = getattr(out, "dtype", type(out).__name__)
        raise TypeError(f"[preprocess] expected out as a float32 array, got {found}.")
    if out.shape != shape or not out.flags.c_contiguous or not out.flags.writeable:
        raise ValueError(
            f"[preprocess] expected out as a writable C-contiguous array of shape {shape}, got "
            f"{out.shape} with strides {out.strides}, writable={out.flags.writeable}."
        )
