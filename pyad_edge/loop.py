"""The camera loop of the command line: inspections become records, overlays and sinks' work."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from pyad_edge.disk import prepare_folder, save_picture
from pyad_edge.errors import PyadError
from pyad_edge.overlay import draw_overlay
from pyad_edge.result import Result, Verdict
from pyad_edge.runtime import Runtime
from pyad_edge.sinks import Outbox
from pyad_edge.streaming import Inspection, Stream

__all__ = ["SaveWhat", "inspect_stream", "prepare_folder", "save_picture"]

SaveWhat = Literal["all", "review", "anomalous"]

_SAVED = {
    "all": {Verdict.OK, Verdict.REVIEW, Verdict.NG},
    "review": {Verdict.REVIEW, Verdict.NG},
    "anomalous": {Verdict.NG},
}


def inspect_stream(
    runtime: Runtime,
    sources: object,
    *,
    save: Path | None = None,
    save_what: SaveWhat = "all",
    outboxes: Sequence[Outbox] = (),
    opened: Callable[[Stream], None] = lambda _: None,
    **settings: Any,
) -> Iterator[dict[str, Any]]:
    """Inspect sources; every inspection gives exactly one record.

    A frame that cannot be read or judged, for whatever reason, gives the verdict FAULT with that
    reason, never OK, and the stream goes on. An overlay that cannot be drawn or written leaves the
    verdict as it is; the record then has ``overlay_error``.

    Args:
        runtime: an open engine.
        sources: as for :func:`pyad_edge.streaming.inspect_sources`.
        save: folder for overlays, written before the record is given.
        save_what: which frames get one; ``review`` means REVIEW and NG.
        outboxes: get every inspection.
        opened: called once, before the first frame is waited for.
        **settings: of :func:`pyad_edge.streaming.inspect_sources`.

    Yields:
        ``Inspection.to_dict()``, with ``overlay`` or ``overlay_error`` where one was wanted.
    """
    with runtime.stream(sources, **settings) as stream:
        opened(stream)
        for inspection in stream:
            record = inspection.to_dict()
            for outbox in outboxes:
                outbox.put(inspection, record)
            if save is not None and inspection.verdict in _SAVED[save_what]:
                record = record | _save_overlay(save, inspection, runtime)
            yield record


def _save_overlay(folder: Path, inspection: Inspection, runtime: Runtime) -> dict[str, str]:
    name = f"{inspection.index:06d}_{Path(inspection.name).stem}.png"
    several = inspection.camera != "camera"
    path = folder / inspection.camera / name if several else folder / name
    try:
        if not isinstance(inspection.result, Result):
            raise PyadError("[save] a decision has no map to show. Use the mode infer.")
        frame: Any = inspection.image
        picture = draw_overlay(runtime.picture(frame), inspection.result, title=inspection.name)
        return {"overlay": str(save_picture(path, picture))}
    except Exception as error:  # the verdict stands without its picture
        return {"overlay_error": _sentence("save", error)}


def _sentence(what: str, error: Exception) -> str:
    if isinstance(error, (PyadError, ValueError)) and str(error):
        return str(error)
    if isinstance(error, MemoryError):
        return f"[{what}] the memory of this machine is used up. Close other programs."
    return f"[{what}] unexpected {type(error).__name__}: {str(error) or 'no reason given'}"
