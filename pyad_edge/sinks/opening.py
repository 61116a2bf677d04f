"""From a sink's name on the command line to an outbox that feeds it."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import numpy as np
from numpy.typing import NDArray

from pyad_edge.errors import SettingError
from pyad_edge.sinks.base import RecordSink, Sink
from pyad_edge.sinks.jsonlines import JsonLinesSink
from pyad_edge.sinks.mqtt import MqttSink
from pyad_edge.sinks.outbox import Outbox
from pyad_edge.sinks.overlays import OverlaySink
from pyad_edge.sinks.spool import Spool
from pyad_edge.sinks.table import CsvSink

__all__ = ["open_outbox", "outbox_folder"]

_PICTURES = 32  # with their frames, they wait in memory only


def outbox_folder() -> Path:
    """``$PYAD_EDGE_OUTBOX``, else ``~/.local/state/pyad_edge/outbox``; it may not exist yet."""
    folder = os.environ.get("PYAD_EDGE_OUTBOX")
    return Path(folder) if folder else Path.home() / ".local" / "state" / "pyad_edge" / "outbox"


def open_outbox(
    spec: str,
    *,
    folder: Path | None = None,
    max_bytes: int = 64 << 20,
    picture: Callable[[Any], NDArray[np.uint8]] | None = None,
) -> Outbox:
    """An outbox and its sink.

    Args:
        spec: ``jsonl:FILE``, ``csv:FILE``, ``overlays:FOLDER`` (``overlays:FOLDER?what=all``,
            ``review`` or ``anomalous``), ``mqtt://host/topic`` or ``mqtts://host/topic``.
        folder: of what waits on disk; each sink has a folder of its own in it, the same one at
            every start. None: :func:`outbox_folder`.
        max_bytes: that may wait on disk for this sink.
        picture: see :class:`~pyad_edge.sinks.OverlaySink`.

    Raises:
        SettingError: if ``spec`` cannot be used.
        DataError, ResourceError: if the file, folder or outbox cannot be written.
        BackendError: if the sink needs a package that is missing.
    """
    kind, _, rest = spec.partition(":")
    if not rest:
        raise SettingError(_wanted(spec))
    sink: Sink
    if kind == "jsonl":
        sink = JsonLinesSink(Path(rest))
    elif kind == "csv":
        sink = CsvSink(Path(rest))
    elif kind == "overlays":
        sink = _open_overlays(spec, rest, picture)
    elif kind in ("mqtt", "mqtts"):
        sink = MqttSink(spec)
    else:
        raise SettingError(_wanted(spec))
    name = re.sub(r"//[^@/]*@", "//", spec)  # without a password
    if not isinstance(sink, RecordSink):
        return Outbox(sink, name=name, memory=_PICTURES)
    where = name if kind.startswith("mqtt") else f"{kind}:{Path(rest).absolute()}"
    own = f"{kind}-{hashlib.sha256(where.encode()).hexdigest()[:16]}"
    try:
        spool = Spool((folder or outbox_folder()) / own, max_bytes=max_bytes)
    except BaseException:
        sink.close()
        raise
    return Outbox(sink, name=name, spool=spool)


def _open_overlays(
    spec: str, rest: str, picture: Callable[[Any], NDArray[np.uint8]] | None
) -> OverlaySink:
    folder, _, query = rest.partition("?")
    options = parse_qs(query, keep_blank_values=True)
    what = options.pop("what", ["all"])[-1]
    if options or what not in ("all", "review", "anomalous") or not folder:
        raise SettingError(_wanted(spec))
    return OverlaySink(Path(folder), what=what, picture=picture)  # type: ignore[arg-type]


def _wanted(spec: str) -> str:
    return (
        "[sink] expected jsonl:FILE, csv:FILE, overlays:FOLDER (?what=all, review or anomalous), "
        f"mqtt://host/topic or mqtts://host/topic, got {spec!r}."
    )
