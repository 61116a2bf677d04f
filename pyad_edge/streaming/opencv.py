"""Webcams and network streams through OpenCV."""

from __future__ import annotations

import re
import time

import cv2

from pyad_edge.errors import DataError
from pyad_edge.streaming.decoded import as_declared
from pyad_edge.streaming.frames import Counter, Grab
from pyad_edge.streaming.settings import StreamSettings

__all__ = ["OpenCvDevice"]


class OpenCvDevice:
    """A webcam by number, or a stream by URL (rtsp://, http://, udp:// ...).

    OpenCV knows neither frame ids nor the time of exposure: frames are counted as they come, and
    the time is that at which the driver had the frame. Its ``read`` cannot wait for a given time:
    network streams get FFmpeg's own time limits, webcams V4L2's ten seconds, and what hangs for
    longer than ``lost_after_s`` is abandoned.

    Args:
        address: number or URL.
        settings: of the stream.
        pixel_format: of the frames to hand over, by its PFNC name; None: RGB8.
    """

    counter: Counter = "none"

    def __init__(
        self,
        address: int | str,
        settings: StreamSettings,
        *,
        pixel_format: str | None = None,
    ) -> None:
        self._address = address
        self._settings = settings
        self._pixel_format = pixel_format
        self._capture: cv2.VideoCapture | None = None

    def open(self) -> None:
        """Connect.

        Raises:
            DataError: nothing answers there.
        """
        if isinstance(self._address, int):
            capture = cv2.VideoCapture(self._address)
        else:
            limits = (
                (cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, self._settings.open_timeout_s),
                (cv2.CAP_PROP_READ_TIMEOUT_MSEC, self._settings.stale_after_s),
            )
            parameters = [value for key, s in limits for value in (key, round(s * 900))]
            capture = cv2.VideoCapture(self._address, cv2.CAP_FFMPEG, parameters)
        if not capture.isOpened():
            capture.release()
            raise DataError(
                f"[stream] {self._label} cannot be opened. Is it plugged in and switched on, free "
                "(no other program using it), and may this user read it?"
            )
        capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)  # old frames are of no use; not every driver obeys
        self._capture = capture

    def read(self, timeout: float) -> Grab | None:
        """Wait for a frame.

        Raises:
            DataError: none came.
        """
        if self._capture is None:
            raise DataError(f"[stream] {self._label} is not open.")
        ok = self._capture.grab()
        timestamp, monotonic = time.time(), time.monotonic()
        if ok:
            ok, decoded = self._capture.retrieve()
        if not ok:
            raise DataError(f"[stream] {self._label} gave no frame. Check its cable and network.")
        image, why = as_declared(decoded, self._pixel_format)
        error = f"[stream] {self._label}: {why}" if image is None else None
        return Grab(image, timestamp=timestamp, monotonic=monotonic, error=error)

    def close(self) -> None:
        """Disconnect."""
        if self._capture is not None:
            self._capture.release()
            self._capture = None

    @property
    def _label(self) -> str:
        address = self._address
        return f"camera {address}" if isinstance(address, int) else without_password(address)


def without_password(url: str) -> str:
    """The address for people and records."""
    return re.sub(r"(?<=://)[^/@]*@", "", url)
