"""GenICam cameras (GigE Vision, USB3 Vision, CoaXPress) through harvesters."""

from __future__ import annotations

import importlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyad_edge.errors import BackendError, SettingError
from pyad_edge.streaming.frames import Counter, Device, Grab

__all__ = ["GenicamDevice", "genicam_factory"]

_CHUNK_IDS = ("ChunkCounterValue", "ChunkFrameID")
_DRIFT = 2e-4  # of a camera's clock against this computer's
_JUMP_S = 10.0  # no transport takes so long: the camera's clock was set back
_WRAP = 1 << 16  # GigE Vision's block ids: 1 .. 65535, then 1 again


class GenicamDevice:
    """One GenICam camera.

    Ids are taken from the chunk data where the camera sends it (``ChunkCounterValue`` of a trigger
    counter goes on across connections, ``ChunkFrameID`` starts again), else from the transport's
    block id. Time stamps are the camera's own, moved to this computer's clock by the smallest
    difference seen, so that a frame's delay in the transport is part of its age. The difference may
    grow by 200 millionths of the time, as two crystals drift apart; a jump sets it anew.

    Args:
        harvester: makes an open ``harvesters.core.Harvester`` with its producer and device list.
        selector: what identifies the camera for ``Harvester.create``: {"serial_number": ...}, or
            its place in the list.
    """

    def __init__(self, harvester: Callable[[], Any], selector: dict[str, str] | int) -> None:
        self._make = harvester
        self._selector = selector
        self._harvester: Any = None
        self._acquirer: Any = None
        self._trigger_counter = False
        self._unrolled: int | None = None
        self._offset: float | None = None
        self._stamped = 0.0

    @property
    def counter(self) -> Counter:
        """``device`` where the camera sends a trigger counter, else ``session``."""
        return "device" if self._trigger_counter else "session"

    def open(self) -> None:
        """Connect and start the acquisition."""
        self._harvester = self._make()
        self._acquirer = self._harvester.create(self._selector)
        nodes = self._acquirer.remote_device.node_map
        self._trigger_counter = getattr(nodes, "ChunkCounterValue", None) is not None
        self._acquirer.start()

    def read(self, timeout: float) -> Grab | None:
        """Wait for a buffer; None: no trigger came."""
        buffer = self._acquirer.try_fetch(timeout=timeout)
        if buffer is None:
            return None
        try:
            monotonic, wall = time.monotonic(), time.time()
            number, captured = self._id(buffer), self._captured(buffer, monotonic)
            error = None
            image = None
            is_complete = getattr(buffer, "is_complete", None)
            complete = is_complete() if callable(is_complete) else True
            components = buffer.payload.components
            if not complete or not components:
                error = f"[stream] frame {number} came incomplete. Check packet size and bandwidth."
            else:
                image = _array(components[0])
                if image is None:
                    error = (
                        f"[stream] frame {number} is packed or padded: {_size(components[0])}. Set "
                        "an unpacked PixelFormat, such as Mono8, Mono12 or BayerRG8."
                    )
            return Grab(image, number, wall - (monotonic - captured), captured, error)
        finally:
            buffer.queue()

    def close(self) -> None:
        """Stop and let go of the camera and its producer."""
        acquirer, self._acquirer = self._acquirer, None
        harvester, self._harvester = self._harvester, None
        try:
            if acquirer is not None:
                acquirer.stop()
                acquirer.destroy()
        finally:
            if harvester is not None:
                harvester.reset()

    def _id(self, buffer: Any) -> int | None:
        nodes = self._acquirer.remote_device.node_map
        for name in _CHUNK_IDS:
            node = getattr(nodes, name, None)
            if node is not None:
                return int(node.value)
        number = getattr(buffer, "frame_id", None)
        return None if number is None else self._unroll(int(number))

    def _unroll(self, number: int) -> int:
        """A counter that never wraps, from one of 16 bits that skips 0."""
        if self._unrolled is None or number >= _WRAP:
            self._unrolled = number
            return number
        last = (self._unrolled - 1) % (_WRAP - 1) + 1
        step = (number - last + _WRAP // 2) % (_WRAP - 1) - _WRAP // 2
        value = self._unrolled + step
        self._unrolled = max(self._unrolled, value)
        return value

    def _captured(self, buffer: Any, now: float) -> float:
        """The camera's own time stamp on this computer's monotonic clock."""
        stamp = getattr(buffer, "timestamp_ns", None)
        if not stamp:
            return now
        seconds = float(stamp) * 1e-9
        offset = now - seconds
        if self._offset is not None:
            self._offset += _DRIFT * max(0.0, now - self._stamped)
            if offset - self._offset > _JUMP_S:
                self._offset = None
        self._stamped = now
        self._offset = offset if self._offset is None else min(self._offset, offset)
        return seconds + self._offset


def genicam_factory(selector: str) -> Callable[[], Device]:
    """What makes the device of "genicam:<serial number>" or "genicam:#<place in the list>".

    The producers (``*.cti``) are those of GENICAM_GENTL64_PATH.

    Raises:
        BackendError: harvesters is not installed.
        SettingError: no producer is named.
    """
    try:
        core = importlib.import_module("harvesters.core")
    except ImportError as error:
        raise BackendError(
            f"[stream] GenICam cameras need harvesters ({error}). Run: pip install "
            "'pyad_edge[genicam]'"
        ) from None
    folders = [f for f in os.environ.get("GENICAM_GENTL64_PATH", "").split(os.pathsep) if f]
    producers = [str(path) for folder in folders for path in sorted(Path(folder).glob("*.cti"))]
    if not producers:
        raise SettingError(
            "[stream] expected GenTL producers (*.cti) in the folders of GENICAM_GENTL64_PATH, got "
            f"{folders or 'no folders'}. Install the camera maker's software and set it."
        )

    def harvester() -> Any:
        made = core.Harvester()
        for path in producers:
            made.add_file(path)
        made.update()
        return made

    chosen: dict[str, str] | int = (
        int(selector[1:])
        if selector.startswith("#") and selector[1:].isdigit()
        else {"serial_number": selector}
    )
    return lambda: GenicamDevice(harvester, chosen)


def _array(component: Any) -> NDArray[Any] | None:
    """A copy of the pixels, as the buffer goes back to the driver; None: no whole values each."""
    H, W = int(component.height), int(component.width)
    data = np.asarray(component.data)
    channels = data.size // (H * W) if H * W else 0
    if channels == 0 or data.size != H * W * channels:
        return None
    return np.array(data.reshape((H, W) if channels == 1 else (H, W, channels)))


def _size(component: Any) -> str:
    values = np.asarray(component.data).size
    return f"{values} values for {int(component.width)} x {int(component.height)} pixels"
