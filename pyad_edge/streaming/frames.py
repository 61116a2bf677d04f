"""Frames as sources and devices hand them over."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy.typing as npt

__all__ = ["Counter", "Device", "Frame", "Grab"]

Counter = Literal["none", "session", "device"]


@dataclass(frozen=True, eq=False)
class Frame:
    """One frame of a source.

    Attributes:
        index: 0, 1, 2 ... in the order of delivery; faults count too.
        name: Path of the picture, "<video>#<index>" or "camera:<n>#<index>".
        image: (H, W, 3) uint8 RGB, or what the engine declares; None where reading failed.
        timestamp: When the frame had been read, seconds since 1970 (``time.time``).
        error: Why there is no image; None where there is one.
        frame_id: The device's own number, where it has one: gaps become FAULT ``missing``.
        monotonic: The same moment as ``timestamp`` by ``time.monotonic``.
    """

    index: int
    name: str
    image: npt.NDArray[Any] | None
    timestamp: float = field(default_factory=time.time)
    error: str | None = None
    frame_id: int | None = None
    monotonic: float = field(default_factory=time.monotonic)


@dataclass(frozen=True, eq=False)
class Grab:
    """What a device hands over for one trigger.

    Attributes:
        image: of its own: no buffer that the driver will write into again. None with ``error``.
        frame_id: the device's own number; None: it has none.
        timestamp: of the capture, seconds since 1970.
        monotonic: of the capture, by ``time.monotonic``.
        error: why there is no image (an incomplete transfer, say).
        name: of a file; None: made from camera and frame id.
    """

    image: npt.NDArray[Any] | None
    frame_id: int | None = None
    timestamp: float = field(default_factory=time.time)
    monotonic: float = field(default_factory=time.monotonic)
    error: str | None = None
    name: str | None = None


class Device(Protocol):
    """A camera's driver. Every method may raise, and may hang: a thread of its own calls them.

    A new device is made for every connection, by calling the factory that was given as the source.
    """

    @property
    def counter(self) -> Counter:
        """What ``Grab.frame_id`` means.

        ``none``: there are no ids. ``session``: they start again at every connection. ``device``:
        they go on, so that a gap across a connection is the number of triggers that were lost.
        """

    def open(self) -> None:
        """Connect and start."""

    def read(self, timeout: float) -> Grab | None:
        """Wait at most ``timeout`` seconds for a frame; None: no trigger came, all is well.

        Raises:
            Exception: of any kind where the connection is broken; it will be made anew.
        """

    def close(self) -> None:
        """Stop and disconnect, whatever state the device is in."""
