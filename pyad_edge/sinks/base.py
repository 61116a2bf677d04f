"""What a sink is: somewhere that inspections go."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from pyad_edge.streaming import Inspection

__all__ = ["Record", "RecordSink", "Sink", "json_line"]

Record = dict[str, Any]


class Sink(Protocol):
    """Takes inspections. An :class:`~pyad_edge.sinks.Outbox` calls it, from one thread of its own.

    It may be slow, raise, or never return: the outbox keeps that from the inspection.
    """

    def write(self, inspection: Inspection) -> None:
        """Take one inspection. Whatever is raised counts as a failure of this one."""
        ...

    def close(self) -> None:
        """Release what is held. Called once, after the last `write`."""
        ...


@runtime_checkable
class RecordSink(Sink, Protocol):
    """A sink that needs no picture: records can wait on disk, and outlive the program.

    ``write_records`` takes what :meth:`Inspection.to_dict` gives. It returns when the records have
    arrived; it raises where that is not sure, and is then called again with the same ones.
    """

    def write_records(self, records: Sequence[Record]) -> None:
        """Deliver records, in order, at least once."""
        ...


def json_line(record: Record) -> bytes:
    """A record as one JSON object in UTF-8, without a line break, that every reader takes.

    Numbers that are not finite become null, and bytes of file names that are no text the escapes
    that Python reads back (``\\udc80`` to ``\\udcff``).

    Raises:
        TypeError: if something in it is no plain data.
    """
    try:
        text = json.dumps(record, ensure_ascii=False, allow_nan=False)
    except ValueError:
        text = json.dumps(_finite(record), ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8", "backslashreplace")


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
