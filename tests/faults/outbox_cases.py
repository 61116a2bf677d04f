"""An outbox's life with the n-th file operation failing, for every n, and what became of it all.

Run with ``failing_disk`` preloaded, as ``outbox_cases.py KIND FOLDER``: a line per n and errno.
Two threads share the disk, so that the n-th operation is not the same one in every run.
"""

from __future__ import annotations

import csv
import ctypes
import errno
import json
import shutil
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from sinks.inspections import inspection

from pyad_edge.errors import PyadError
from pyad_edge.sinks import CsvSink, JsonLinesSink, Outbox, OverlaySink, RecordSink, Spool
from pyad_edge.sinks import outbox as outbox_module
from pyad_edge.sinks import spool as spool_module
from pyad_edge.sinks.base import Record

SHIM = ctypes.CDLL(None)
SHIM.disk_name.restype = ctypes.c_char_p
CODES = (errno.ENOSPC, errno.EIO, errno.EACCES)
FRAMES = {"jsonl": 30, "csv": 30, "overlays": 2}
AWAY = 3  # calls at the begin in which the receiver is away, so that records go to the disk


class Away:
    """A sink that is away at first, in front of another one."""

    def __init__(self, sink: RecordSink, calls: int) -> None:
        self._sink, self._calls = sink, calls

    def write(self, inspection: Any) -> None:
        self.write_records([inspection.to_dict()])

    def write_records(self, records: Sequence[Record]) -> None:
        self._calls -= 1
        if self._calls >= 0:
            raise ConnectionError("away")
        self._sink.write_records(records)

    def close(self) -> None:
        self._sink.close()


def opened(kind: str, folder: Path, away: int) -> Outbox:
    if kind == "overlays":
        return Outbox(OverlaySink(folder / "pictures"), name=kind)
    path = folder / f"log.{kind}"
    sink = JsonLinesSink(path) if kind == "jsonl" else CsvSink(path)
    try:
        spool = Spool(folder / "outbox")
    except PyadError:
        with suppress(OSError):
            sink.close()
        raise
    return Outbox(Away(sink, away), name=kind, memory=64, spool=spool, patience=0.002)


def frames_of(kind: str, folder: Path) -> list[int]:
    """Frames that arrived; raises where a line or picture is not whole."""
    if kind == "overlays":
        paths = (folder / "pictures").iterdir()
        return sorted(int(path.name.split("_")[2]) for path in paths if path.suffix == ".png")
    text = (folder / f"log.{kind}").read_text()
    if kind == "jsonl":
        return [json.loads(line)["frame"] for line in text.splitlines()]
    rows = list(csv.DictReader(text.splitlines()))
    assert all(None not in row and None not in row.values() for row in rows), text
    return [int(row["frame"]) for row in rows]


def settled(box: Outbox) -> bool:
    status = box.status
    return status.waiting == status.on_disk == 0


def attempt(kind: str, folder: Path, n: int, code: int, *, onwards: bool) -> dict[str, Any]:
    """One life with operation n failing, and one on a disk that works."""
    shutil.rmtree(folder)
    folder.mkdir()
    sentences: list[str] = []
    slowest = 0.0
    SHIM.disk_arm(str(folder).encode(), n, code, int(onwards))
    box = None
    with suppress(PyadError):  # once more, as a service would: said before the first frame
        try:
            box = opened(kind, folder, AWAY)
        except PyadError as error:
            sentences.append(str(error))
            box = opened(kind, folder, AWAY)
    status: dict[str, Any] = {}
    if box is not None:
        for frame in range(FRAMES[kind]):
            item = inspection(frame)
            begin = time.perf_counter()
            box.put(item)
            slowest = max(slowest, time.perf_counter() - begin)
            if frame % 8 == 0:
                time.sleep(0.002)
        end = time.monotonic() + (0.1 if onwards else 5.0)
        while not settled(box) and time.monotonic() < end:
            time.sleep(0.001)
        status = box.close(timeout=0.3 if onwards else 5.0).to_dict()
        for thread in box._threads:
            thread.join(20)
    calls = SHIM.disk_stop()
    first = frames_of(kind, folder) if box is not None and not onwards else []
    later = opened(kind, folder, 0).close().to_dict()
    return {
        "n": n,
        "calls": calls,
        "operation": SHIM.disk_name(n).decode(),
        "errno": errno.errorcode.get(code),
        "onwards": onwards,
        "refused": sentences,
        "slowest_s": slowest,
        "status": status,
        "first": first,
        "later": later,
        "frames": frames_of(kind, folder),
        "left": sorted(path.name for path in folder.rglob("*") if path.is_file()),
    }


def main() -> None:
    kind, folder = sys.argv[1], Path(sys.argv[2])
    outbox_module._FIRST_PAUSE = outbox_module._SPILL_PAUSE = 0.005
    outbox_module._LONGEST_PAUSE = 0.02
    spool_module.SEGMENT_BYTES = 4096
    usual = [attempt(kind, folder, 0, 0, onwards=False) for _ in range(3)]
    last = max(one["calls"] for one in usual) + 2
    for one in usual[:1]:
        print(json.dumps(one))
    for code in CODES[:1] if kind == "overlays" else CODES:  # pictures: disk_cases.py as well
        for n in range(1, last + 1):
            print(json.dumps(attempt(kind, folder, n, code, onwards=False)))
    for n in range(1, last + 1, 5):
        print(json.dumps(attempt(kind, folder, n, errno.ENOSPC, onwards=True)))


if __name__ == "__main__":
    main()
