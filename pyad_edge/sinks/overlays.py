"""Overlay pictures of inspections, in a folder."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pyad_edge.disk import prepare_folder, save_picture
from pyad_edge.overlay import draw_overlay
from pyad_edge.result import Result, Verdict
from pyad_edge.streaming import Inspection

__all__ = ["OverlaySink"]

_WANTED = {
    "all": frozenset({Verdict.OK, Verdict.REVIEW, Verdict.NG}),
    "review": frozenset({Verdict.REVIEW, Verdict.NG}),
    "anomalous": frozenset({Verdict.NG}),
}


class OverlaySink:
    """Writes a PNG per inspection that has a map: frame, heat map, regions and verdict.

    Files are called CAMERA_TIME_INDEX_NAME.png, the time (UTC) that of the capture, as the records
    have it. Indices begin anew with every run; a later run replaces no picture of an earlier one.

    Args:
        folder: made if need be.
        what: ``all``, ``review`` (REVIEW and NG) or ``anomalous`` (NG).
        picture: makes a frame as inspected (H, W, 3) uint8 RGB, where it is not that already; see
            ``Runtime.picture``.

    Raises:
        DataError: if the folder cannot be made or written.
        ResourceError: if its disk is full or fails.
    """

    def __init__(
        self,
        folder: Path,
        *,
        what: Literal["all", "review", "anomalous"] = "all",
        picture: Callable[[Any], NDArray[np.uint8]] | None = None,
    ) -> None:
        prepare_folder(folder)
        self._folder = folder
        self._wanted = _WANTED[what]
        self._picture = picture

    def write(self, inspection: Inspection) -> None:
        """Write one picture, if it is one of those wanted.

        Raises:
            DataError, ResourceError: if it cannot be written.
        """
        result, image = inspection.result, inspection.image
        if not isinstance(result, Result) or image is None:
            return
        if inspection.verdict not in self._wanted:
            return
        picture = self._picture(image) if self._picture is not None else np.asarray(image)
        overlay = draw_overlay(picture.astype(np.uint8, copy=False), result, title=inspection.name)
        save_picture(self._folder / _file_name(inspection), overlay)

    def close(self) -> None:
        """Nothing to release: every picture is complete."""


def _file_name(inspection: Inspection) -> str:
    camera = re.sub(r"[^\w.-]+", "_", inspection.camera)
    stem = re.sub(r"[^\w.-]+", "_", Path(inspection.name).stem)
    time = datetime.fromtimestamp(inspection.captured_at, timezone.utc)
    stamp = f"{time:%Y%m%dT%H%M%S}.{time.microsecond // 1000:03d}Z"
    return f"{camera}_{stamp}_{inspection.index:06d}_{stem}.png"
