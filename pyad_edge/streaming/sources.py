"""What a user may give as a source, and what reads it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pyad_edge.errors import SettingError
from pyad_edge.streaming.frames import Device
from pyad_edge.streaming.gate import GateSettings
from pyad_edge.streaming.genicam import genicam_factory
from pyad_edge.streaming.opencv import OpenCvDevice
from pyad_edge.streaming.settings import StreamSettings

__all__ = ["DEFAULT_NAME", "Opened", "gate_for", "named_sources", "open_spec"]

DEFAULT_NAME = "camera"
Kind = Literal["file", "iterable", "webcam", "network", "device"]


@dataclass(frozen=True)
class Opened:
    """A source that was understood.

    Attributes:
        kind: of source; decides on waiting and on the gate's checks.
        make: of a camera; None for what is read as an iterable.
        items: of files and iterables.
        close: releases the file.
    """

    kind: Kind
    make: Callable[[], Device] | None = None
    items: Iterable[Any] = ()
    close: Callable[[], object] = lambda: None


def named_sources(sources: object) -> dict[str, object]:
    """Sources by name; one alone is "camera".

    Raises:
        SettingError: no source, or a name that is none.
    """
    if not isinstance(sources, Mapping):
        return {DEFAULT_NAME: sources}
    if not sources or not all(isinstance(name, str) and name for name in sources):
        raise SettingError(
            f'[stream] expected sources by name, {{"left": ..., "right": ...}}, got '
            f"{list(sources)!r}."
        )
    return dict(sources)


def open_spec(spec: object, settings: StreamSettings, *, pixel_format: str | None = None) -> Opened:
    """Understand one source. Cameras are not opened here: their threads do that.

    Args:
        spec: see ``inspect_sources``.
        settings: of the stream.
        pixel_format: that the runtime expects; None: 8-bit RGB.

    Raises:
        DataError: a file or folder that cannot be opened.
        SettingError: what is no source at all.
    """
    if isinstance(spec, str):
        address = spec.removeprefix("camera:")
        if address.isascii() and address.isdigit():
            number = int(address)
            return Opened(
                "webcam", lambda: OpenCvDevice(number, settings, pixel_format=pixel_format)
            )
        if spec.startswith("genicam:"):
            return Opened("device", genicam_factory(spec.removeprefix("genicam:")))
        if "://" in spec:
            return Opened(
                "network", lambda: OpenCvDevice(spec, settings, pixel_format=pixel_format)
            )
    if isinstance(spec, (str, Path)):
        # Late: pyad_edge.stream takes Frame from this package.
        from pyad_edge.stream import open_source

        source = open_source(spec, pixel_format=pixel_format)
        return Opened("file", items=source, close=source.close)
    if isinstance(spec, Iterable):
        close = getattr(spec, "close", None) if hasattr(spec, "kind") else None
        return Opened("iterable", items=spec, close=close or (lambda: None))
    if callable(spec):
        return Opened("device", spec)
    raise SettingError(
        "[stream] expected a folder, picture, video file, camera, URL, iterable of frames or a "
        f"function that makes a device, got {type(spec).__name__}."
    )


def gate_for(kind: Kind) -> GateSettings:
    """The checks of ``gate="auto"`` for a kind of source.

    Files and iterables may hold pictures of many sizes and repeat one; compressed network streams
    repeat still backgrounds row by row and now and then a whole picture.
    """
    if kind in ("file", "iterable"):
        return GateSettings(
            wrong_dtype=False, wrong_size=False, frozen=False, torn=False, blurred=False
        )
    if kind == "network":
        return GateSettings(torn_rows=False, frozen_after=25)
    return GateSettings()
