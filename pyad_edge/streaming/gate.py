"""The input gate: pictures that no verdict may be given on, each with a name and a sentence."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from pyad_edge.pixel_formats import PIXEL_FORMATS
from pyad_edge.streaming.measures import (
    RowHistory,
    has_structure,
    plane_of,
    sample_of,
    seam_ratio,
    sharpness,
)
from pyad_edge.streaming.record import Fault, FaultCode

__all__ = ["Gate", "GateReference", "GateSettings"]

Share = Annotated[float, Field(ge=0, le=1)]

# Measured in docs/streams.md: what sharp and whole pictures keep away from.
LARGEST_SHARE = 0.995
LARGEST_BLUR = 0.03
SMALLEST_SEAM = 2.5


class GateSettings(BaseModel):
    """Which checks look at a frame, and their limits; a limit of None follows the engine.

    Attributes:
        wrong_dtype, wrong_size, black, white, frozen, torn, blurred: whether that check is on.
        dtype: expected pixel type, as NumPy calls it; none: that of the engine's golden pictures.
        size: expected (height, width); none: that of the camera's first frame.
        full_scale: largest pixel value; none: the engine's pixel format's, else 255, 65535 or 1.0
            by pixel type.
        black_level: pixels up to this fraction of the full scale are dark.
        black_share: a larger share of dark pixels is ``black``. None: 0.995, so that a small part
            on a dark ground passes, or half-way from the golden picture's share to 1, whichever is
            more.
        white_level, white_share: likewise for pixels from this fraction up.
        frozen_after: repetitions of one picture from which on it is ``frozen``.
        frozen_floor: pictures whose mean absolute difference, in fractions of the full scale, is
            at most this are repetitions; 0: only those that are equal in every pixel.
        torn_ratio: limit of ``seam_ratio``. None: 2.5, or 1.5 times that of the golden picture,
            whichever is more.
        torn_rows: whether rows that equal those of one of the last four frames count as torn; off
            for compressed video, where a still background is equal in every frame.
        blur_limit: limit of ``sharpness``; pictures of one level are blurred unless
            the golden picture is so too. None: 0.03, or a quarter of its, whichever is less.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    wrong_dtype: bool = True
    wrong_size: bool = True
    black: bool = True
    white: bool = True
    frozen: bool = True
    torn: bool = True
    blurred: bool = True
    dtype: str | None = None
    size: tuple[int, int] | None = None
    full_scale: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    black_level: Share = 0.06
    black_share: Share | None = None
    white_level: Share = 0.98
    white_share: Share | None = None
    frozen_after: int = Field(default=1, ge=1)
    frozen_floor: Share = 0.0
    torn_ratio: Annotated[float, Field(gt=0)] | None = None
    torn_rows: bool = True
    blur_limit: Annotated[float, Field(ge=0)] | None = None


@dataclass(frozen=True)
class GateReference:
    """What a normal picture of this engine measures.

    Attributes:
        dtype: of the frames.
        full_scale: largest pixel value.
        mosaic: whether frames are Bayer mosaics; only one of their colours is looked at.
        dark, bright: shares of dark and of saturated pixels.
        seam, sharp: see ``seam_ratio`` and ``sharpness``; None: not known.
    """

    dtype: str = "uint8"
    full_scale: float = 255.0
    mosaic: bool = False
    dark: float = 0.0
    bright: float = 0.0
    seam: float | None = None
    sharp: float | None = None

    @classmethod
    def of(
        cls, picture: NDArray[Any], settings: GateSettings, *, pixel_format: str | None = None
    ) -> GateReference:
        """Measure a normal picture at the camera's own resolution.

        Args:
            picture: (H, W) or (H, W, C).
            settings: levels and full scale.
            pixel_format: by its PFNC name, where it is known.
        """
        pixels = PIXEL_FORMATS[pixel_format] if pixel_format is not None else None
        scale = settings.full_scale
        if scale is None and np.issubdtype(picture.dtype, np.integer):
            bits = pixels.bits if pixels is not None else 8 * picture.dtype.itemsize
            scale = 2.0**bits - 1.0
        scale = scale or 1.0
        mosaic = pixels is not None and pixels.kind == "bayer"
        plane = plane_of(picture, mosaic=mosaic)
        sample = sample_of(plane)
        return cls(
            dtype=str(picture.dtype),
            full_scale=scale,
            mosaic=mosaic,
            dark=float((sample <= settings.black_level * scale).mean()),
            bright=float((sample >= settings.white_level * scale).mean()),
            seam=seam_ratio(plane, full_scale=scale),
            sharp=sharpness(plane, full_scale=scale),
        )


class Gate:
    """Looks at the frames of one camera, in order. About 0.2 ms at 640 x 480.

    Args:
        settings: which checks, which limits.
        reference: what is normal.
        camera: for sentences.
    """

    def __init__(self, settings: GateSettings, reference: GateReference, *, camera: str) -> None:
        self._settings = settings
        self._camera = camera
        self._scale = settings.full_scale or reference.full_scale
        self._mosaic = reference.mosaic
        self._dtype = settings.dtype or reference.dtype
        self._size = settings.size
        self._black = _share(settings.black_share, reference.dark)
        self._white = _share(settings.white_share, reference.bright)
        torn = max(SMALLEST_SEAM, 1.5 * (reference.seam or 0.0))
        self._torn = settings.torn_ratio if settings.torn_ratio is not None else torn
        sharp = LARGEST_BLUR if reference.sharp is None else 0.25 * reference.sharp
        blur = min(LARGEST_BLUR, sharp)
        self._blur = settings.blur_limit if settings.blur_limit is not None else blur
        # Where the golden picture is of one level, pictures of one level are normal.
        self._structured = reference.sharp is None or math.isfinite(reference.sharp)
        self._previous: NDArray[Any] | None = None
        self._sample: NDArray[Any] | None = None  # of the previous one
        self._repeats = 0
        self._rows = RowHistory()

    def limits(self) -> dict[str, float | str | tuple[int, int] | None]:
        """The limits in force, for reports."""
        return {
            "dtype": self._dtype,
            "size": self._size,
            "black_share": self._black,
            "white_share": self._white,
            "torn_ratio": self._torn,
            "blur_limit": self._blur,
        }

    def check(self, image: NDArray[Any]) -> Fault | None:
        """Look at the next frame; None: it may be inspected."""
        s = self._settings
        if s.wrong_dtype and str(image.dtype) != self._dtype:
            return self._fault(
                FaultCode.WRONG_DTYPE, f"expected pixels of type {self._dtype}, got {image.dtype}"
            )
        if image.ndim not in (2, 3) or image.size == 0:
            return self._fault(
                FaultCode.WRONG_SIZE, f"expected (H, W) or (H, W, C), got {image.shape}"
            )
        size = (image.shape[0], image.shape[1])
        if s.wrong_size and self._size is not None and size != self._size:
            wanted = f"{self._size[1]} x {self._size[0]}"
            return self._fault(
                FaultCode.WRONG_SIZE, f"expected {wanted} pixels, got {size[1]} x {size[0]}"
            )
        plane = plane_of(image, mosaic=self._mosaic)
        fault = (
            self._brightness(plane)
            or self._frozen(image)
            or self._seam(plane)
            or self._blurred(plane)
        )
        if fault is None and s.wrong_size and self._size is None:
            self._size = size
        return fault

    def _brightness(self, plane: NDArray[Any]) -> Fault | None:
        s = self._settings
        if not (s.black or s.white):
            return None
        sample, scale = sample_of(plane), self._scale
        if s.black:
            share = np.count_nonzero(sample <= s.black_level * scale) / sample.size
            if share > self._black:
                return self._fault(
                    FaultCode.BLACK,
                    f"{share:.1%} of the pixels are dark, expected at most {self._black:.1%} "
                    "(light off, shutter, lens cap?)",
                )
        if s.white:
            share = np.count_nonzero(sample >= s.white_level * scale) / sample.size
            if share > self._white:
                return self._fault(
                    FaultCode.WHITE,
                    f"{share:.1%} of the pixels are saturated, expected at most {self._white:.1%} "
                    "(exposure, stray light?)",
                )
        return None

    def _frozen(self, image: NDArray[Any]) -> Fault | None:
        s = self._settings
        if not s.frozen:
            return None
        previous, self._previous = self._previous, image
        old, self._sample = self._sample, np.ascontiguousarray(sample_of(plane_of(image)))
        repeated = (
            previous is not None
            and old is not None
            and previous.shape == image.shape
            and previous.dtype == image.dtype
            and self._repeated(previous, image, old, self._sample)
        )
        if not repeated:
            self._repeats = 0
            return None
        self._repeats += 1
        if self._repeats < s.frozen_after:
            return None
        return self._fault(
            FaultCode.FROZEN, f"the picture is the one before ({self._repeats} in a row)"
        )

    def _repeated(
        self,
        previous: NDArray[Any],
        image: NDArray[Any],
        old: NDArray[Any],
        new: NDArray[Any],
    ) -> bool:
        floor = self._settings.frozen_floor
        if floor == 0.0:
            # The sample settles nearly every frame; only its equals are compared as a whole.
            return bool(np.array_equal(old, new) and np.array_equal(previous, image))
        difference = np.abs(old.astype(np.float32) - new.astype(np.float32)).mean()
        return bool(difference <= floor * self._scale)

    def _seam(self, plane: NDArray[Any]) -> Fault | None:
        s = self._settings
        if not s.torn:
            return None
        seam = self._rows.stale_part(plane) if s.torn_rows else None
        if seam is not None:
            return self._fault(
                FaultCode.TORN, f"rows on one side of {seam:.0%} of the height are an older frame's"
            )
        ratio = seam_ratio(plane, full_scale=self._scale)
        if ratio > self._torn:
            return self._fault(
                FaultCode.TORN,
                f"one step between two rows is {ratio:.1f} times those around it, expected at most "
                f"{self._torn:.1f}",
            )
        return None

    def _blurred(self, plane: NDArray[Any]) -> Fault | None:
        s = self._settings
        if not s.blurred:
            return None
        value = sharpness(plane, full_scale=self._scale)
        if math.isinf(value) and self._structured:
            if has_structure(plane, full_scale=self._scale):
                return None  # a small part that no strip hits
            return self._fault(
                FaultCode.BLURRED, "nothing is to be seen but one level (lens, driver, no part?)"
            )
        if value >= self._blur:
            return None
        return self._fault(
            FaultCode.BLURRED,
            f"sharpness {value:.4f}, expected at least {self._blur:.4f} (focus, dirt, motion?)",
        )

    def _fault(self, code: FaultCode, what: str) -> Fault:
        return Fault(code, f"[gate] {self._camera}: {what}.")


def _share(wanted: float | None, normal: float) -> float:
    return wanted if wanted is not None else max(LARGEST_SHARE, (1.0 + normal) / 2.0)
