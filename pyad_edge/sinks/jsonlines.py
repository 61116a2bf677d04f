"""One JSON object per line, in a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pyad_edge.sinks.base import Record, json_line
from pyad_edge.sinks.files import LineFile
from pyad_edge.streaming import Inspection

__all__ = ["JsonLinesSink"]


class JsonLinesSink:
    """Appends one JSON object per inspection to a file; complete lines only, also on a full disk.

    Lines are handed to the operating system at once, so that they outlive a crash of the program.

    Args:
        path: made with its folder if need be; what is there stays.

    Raises:
        DataError: if the file cannot be opened for writing.
        ResourceError: if its disk is full or fails.
    """

    def __init__(self, path: Path) -> None:
        self._file = LineFile(path)

    def write(self, inspection: Inspection) -> None:
        """Append one line."""
        self.write_records([inspection.to_dict()])

    def write_records(self, records: Sequence[Record]) -> None:
        """Append one line each, all of them or none."""
        self._file.append(b"".join(json_line(record) + b"\n" for record in records))

    def close(self) -> None:
        """Sync the file to the disk and close it."""
        self._file.close()
