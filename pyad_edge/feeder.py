"""From a frame of a declared format to the network's input, tile by tile: for fit and line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from pyad_edge.engine_manifest import InputSpec, Preprocessing
from pyad_edge.errors import DataError
from pyad_edge.frames import FrameFormat, Picture, plain_rgb
from pyad_edge.geometry import FramePlan, Geometry, Tile
from pyad_edge.ops import PreprocessPlan, preprocess
from pyad_edge.preprocessing import check_frame, check_size, input_size
from pyad_edge.roi import Mask

__all__ = ["DeclaredInput", "Feeder"]

Frame = NDArray[Any]
Array = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class DeclaredInput:
    """What frames will come, and what is done about their size.

    Attributes:
        spec: as the engine declares it; None: it declares nothing.
        format: of the frames that come; None: uint8, mono or ``color_order``.
        color_order: of such frames; of a format, that of the pictures made of it.
        policy: the size policy in force, ``error`` being ``resize`` with a
        frame_size: (H, W) that every frame must have; None: any.
        masks: regions of interest, (H, W) uint8; what all of them hold is inspected.
    """

    spec: InputSpec | None
    format: FrameFormat | None
    color_order: Literal["rgb", "bgr"]
    policy: Literal["resize", "letterbox", "tile"]
    frame_size: tuple[int, int] | None
    masks: tuple[Mask, ...]


class Feeder:
    """Checks frames and writes their tiles. Thread-safe.

    Args:
        preprocessing: of the engine.
        declared: see there.
        grid: (h, w), patches of the network's input.
        sigma: of the map's Gaussian, in pixels of the network's input.
    """

    def __init__(
        self,
        preprocessing: Preprocessing,
        declared: DeclaredInput,
        *,
        grid: tuple[int, int],
        sigma: float,
    ) -> None:
        self.declared = declared
        self._preprocessing = preprocessing
        self._input_size = input_size(preprocessing)
        self._whole = PreprocessPlan(
            resize=preprocessing.resize,
            mean=preprocessing.mean,
            std=preprocessing.std,
            crop=preprocessing.crop,
        )
        self._geometry = Geometry(
            preprocessing=preprocessing,
            policy=declared.policy,
            spec=declared.spec,
            grid=grid,
            sigma=sigma,
            masks=declared.masks,
        )

    def plan(self, frame_size: tuple[int, ...]) -> FramePlan:
        """How frames of (H, W, ...) are cut and scored.

        Raises:
            DataError: if such frames cannot be inspected.
        """
        return self._geometry.plan((frame_size[0], frame_size[1]))

    def check(self, frame: Frame) -> None:
        """Refuse what is not a frame of the declared format and size.

        Raises:
            DataError: names what was declared and what came.
        """
        if self.declared.format is None:
            check_frame(frame)
        else:
            self.declared.format.check(frame)
            check_size(frame.shape[0], frame.shape[1])
        wanted = self.declared.frame_size
        if wanted is not None and frame.shape[:2] != wanted:
            raise DataError(
                f"[infer] expected a frame of {wanted[1]} x {wanted[0]} pixels (size policy "
                f"'error'), got {frame.shape[1]} x {frame.shape[0]}. Set the camera's region of "
                "interest as it was for the training pictures."
            )

    def show(self, frame: Frame) -> Picture:
        """The frame as (H, W, 3) uint8 RGB, as the network sees it but at its own size."""
        self.check(frame)
        if self.declared.format is not None:
            return self.declared.format.rgb(frame)
        return plain_rgb(frame, self.declared.color_order)

    def picture(self, frame: Frame) -> Picture:
        """A checked frame as (H, W) or (H, W, 3) uint8, in ``declared.color_order``."""
        return frame if self.declared.format is None else self.declared.format.picture(frame)

    def write(self, picture: Picture, plan: FramePlan, tile: Tile, out: Array) -> None:
        """One tile of a picture as the network's input, (1, 3, H, W) float32."""
        settings = self._preprocessing
        piece = picture[tile.top : tile.top + tile.height, tile.left : tile.left + tile.width]
        below, right = tile.height - piece.shape[0], tile.width - piece.shape[1]
        if below or right:
            piece = np.asarray(
                cv2.copyMakeBorder(
                    np.ascontiguousarray(piece), 0, below, 0, right, cv2.BORDER_REFLECT_101
                ),
                np.uint8,
            )
        top, left, height, width = tile.inner
        if (height, width) == self._input_size:
            self._whole.run(piece, color_order=self.declared.color_order, out=out)
            return
        spec = self.declared.spec
        level = (spec.padding or 0) / 255.0 if spec is not None else 0.0
        grey = [(level - m) / s for m, s in zip(settings.mean, settings.std, strict=True)]
        out[0] = np.array(grey, np.float32)[:, np.newaxis, np.newaxis]
        out[:, :, top : top + height, left : left + width] = preprocess(
            piece,
            resize=(height, width),
            mean=settings.mean,
            std=settings.std,
            color_order=self.declared.color_order,
        )
