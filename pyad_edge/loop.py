"""The camera loop of the command line: frames in, one record per frame out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

from PIL import Image

from pyad_edge.errors import DataError, PyadError, ResourceError
from pyad_edge.overlay import draw_overlay
from pyad_edge.runtime import Runtime
from pyad_edge.stream import Frame

__all__ = ["inspect_stream", "save_picture"]


def inspect_stream(
    runtime: Runtime,
    frames: Iterable[Frame],
    *,
    save: Path | None = None,
    save_what: Literal["all", "anomalous"] = "all",
) -> Iterator[dict[str, Any]]:
    """Inspect frames one by one; every frame gives exactly one record.

    A frame that cannot be read or judged gives the verdict FAULT with the reason, never OK.

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
        except (PyadError, ValueError) as error:
            yield record | {"verdict": "FAULT", "error": str(error)}
            continue
        if save is not None and (save_what == "all" or result.is_anomalous):
            name = f"{frame.index:06d}_{Path(frame.name).stem}.png"
            picture = draw_overlay(frame.image, result, title=frame.name)
            record["overlay"] = str(save_picture(save / name, picture))
        yield record | result.to_dict()


def save_picture(path: Path, picture: Any) -> Path:
    """Write an RGB array as PNG, making its folder.

    Raises:
        ResourceError: if the disk is full or the folder cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(path)
    except (FileExistsError, NotADirectoryError) as error:
        raise DataError(f"[save] {path.parent} is not a folder. Choose another --save.") from error
    except OSError as error:
        raise ResourceError(
            f"[save] {path} could not be written ({error.strerror or error}). Free some space or "
            "choose another --save."
        ) from error
    return path
