"""The camera loop of the command line: frames in, one record per frame out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

from pyad_edge.disk import prepare_folder, save_picture
from pyad_edge.errors import PyadError
from pyad_edge.overlay import draw_overlay
from pyad_edge.result import Result
from pyad_edge.runtime import Runtime
from pyad_edge.stream import Frame

__all__ = ["inspect_stream", "prepare_folder", "save_picture"]


def inspect_stream(
    runtime: Runtime,
    frames: Iterable[Frame],
    *,
    save: Path | None = None,
    save_what: Literal["all", "anomalous"] = "all",
) -> Iterator[dict[str, Any]]:
    """Inspect frames one by one; every frame gives exactly one record.

    A frame that cannot be read or judged, for whatever reason, gives the verdict FAULT with that
    reason, never OK, and the stream goes on. An overlay that cannot be drawn or written leaves the
    verdict as it is; the record then has ``overlay_error``.

    Args:
        runtime: an open engine.
        frames: see ``pyad_edge.stream``.
        save: folder for overlays.
        save_what: which frames get one.

    Yields:
        ``Result.to_dict()`` with frame number, name and timestamp, or the same with FAULT and
        error.
    """
    for frame in frames:
        record: dict[str, Any] = {
            "frame": frame.index,
            "name": frame.name,
            "timestamp": frame.timestamp,
        }
        if frame.image is None:
            yield record | {"verdict": "FAULT", "error": frame.error or "no picture"}
            continue
        try:
            result = runtime.infer(frame.image)
        except Exception as error:  # a line goes on; one bad frame must not end it
            yield record | {"verdict": "FAULT", "error": _sentence("infer", error)}
            continue
        if save is not None and (save_what == "all" or result.is_anomalous):
            record |= _save_overlay(save, frame, result)
        yield record | result.to_dict()


def _save_overlay(folder: Path, frame: Frame, result: Result) -> dict[str, str]:
    name = f"{frame.index:06d}_{Path(frame.name).stem}.png"
    try:
        picture = draw_overlay(frame.image, result, title=frame.name)  # type: ignore[arg-type]
        return {"overlay": str(save_picture(folder / name, picture))}
    except Exception as error:  # the verdict stands without its picture
        return {"overlay_error": _sentence("save", error)}


def _sentence(what: str, error: Exception) -> str:
    if isinstance(error, (PyadError, ValueError)) and str(error):
        return str(error)
    if isinstance(error, MemoryError):
        return f"[{what}] the memory of this machine is used up. Close other programs."
    return f"[{what}] unexpected {type(error).__name__}: {str(error) or 'no reason given'}"
