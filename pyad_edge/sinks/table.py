"""A CSV table: one row per inspection, the columns that fit in a row."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from pyad_edge.sinks.base import Record
from pyad_edge.sinks.files import LineFile
from pyad_edge.streaming import Inspection

__all__ = ["COLUMNS", "CsvSink"]

COLUMNS = (
    "camera",
    "frame",
    "frame_id",
    "name",
    "timestamp",
    "verdict",
    "score",
    "threshold",
    "review_threshold",
    "p_value",
    "peak_x",
    "peak_y",
    "regions",
    "settled",
    "fault",
    "error",
    "latency_ms",
    "queue_ms",
    "dropped",
    "triggers",
)

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


class CsvSink:
    """Appends rows to a table as RFC 4180 has it; ``regions`` is their number.

    A text that a spreadsheet would take for a formula (a file called ``=1+1.png``) gets an
    apostrophe in front. Bytes of file names that are no text become escapes.

    Args:
        path: made with its folder and a first row of names if need be.

    Raises:
        DataError: if the file cannot be opened for writing, or has other columns.
        ResourceError: if its disk is full or fails.
    """

    def __init__(self, path: Path) -> None:
        self._file = LineFile(path, first=",".join(COLUMNS).encode())

    def write(self, inspection: Inspection) -> None:
        """Append one row."""
        self.write_records([inspection.to_dict()])

    def write_records(self, records: Sequence[Record]) -> None:
        """Append one row each, all of them or none."""
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, COLUMNS, restval="", extrasaction="ignore")
        for record in records:
            x, y = record.get("peak", ("", ""))
            regions = len(record["regions"]) if "regions" in record else ""
            row = {**record, "peak_x": x, "peak_y": y, "regions": regions}
            writer.writerow({name: _cell(value) for name, value in row.items()})
        self._file.append(text.getvalue().encode("utf-8", "backslashreplace"))

    def close(self) -> None:
        """Sync the file to the disk and close it."""
        self._file.close()


def _cell(value: object) -> object:
    """Text without a formula's first character (OWASP, CSV injection)."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
