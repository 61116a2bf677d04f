"""Sinks that hang, throw or have no disk: inspection never waits, and every record is accounted."""

from __future__ import annotations

import errno
import time
from pathlib import Path

import pytest
from sinks.inspections import Collector, RecordCollector, inspection, wait_for

from pyad_edge.sinks import CallbackSink, Outbox, OutboxStatus, Spool, outbox


def balanced(status: OutboxStatus) -> bool:
    gone = status.written + status.skipped + status.dropped
    return status.taken + status.recovered == gone + status.waiting + status.on_disk


def fill(box: Outbox, start: int, stop: int) -> float:
    """Put frames; seconds of the slowest call."""
    slowest = 0.0
    for n in range(start, stop):
        item = inspection(n)
        began = time.perf_counter()
        box.put(item)
        slowest = max(slowest, time.perf_counter() - began)
    return slowest


@pytest.mark.parametrize("sink", [Collector(), RecordCollector()])
def test_everything_is_delivered_in_order(sink: Collector) -> None:
    box = Outbox(sink, name="x", memory=1000)
    fill(box, 0, 500)
    status = box.close()
    assert sink.frames == list(range(500))
    assert (status.taken, status.written, status.waiting, sink.closed) == (500, 500, 0, 1)
    assert status.error is None
    assert balanced(status)
    box.put(inspection(1))
    assert box.status.dropped == 1, "a closed outbox says what it does not take"


def test_a_sink_that_hangs_holds_nobody_up(tmp_path: Path) -> None:
    sink = RecordCollector()
    sink.gate.clear()
    box = Outbox(sink, name="x", memory=64, spool=Spool(tmp_path), patience=0.01)
    for start in range(0, 400, 20):  # slower than the disk, much faster than the sink
        assert fill(box, start, start + 20) < 1.0
        wait_for(lambda: box._queue.waiting() < 44)
    status = box.status
    assert (status.written, status.dropped, status.taken) == (0, 0, 400)
    assert balanced(status)
    began = time.monotonic()
    status = box.close(timeout=0.3)
    assert time.monotonic() - began < 5.0
    assert (status.on_disk, status.dropped, status.written) == (400, 0, 0)
    assert balanced(status)

    # The next start delivers them first, what the sink held at the end included.
    other = RecordCollector()
    box = Outbox(other, name="x", memory=1000, spool=Spool(tmp_path))
    assert box.status.recovered == 400
    fill(box, 400, 450)
    status = box.close()
    assert sorted(other.frames) == list(range(450))
    assert other.frames[-50:] == list(range(400, 450))
    assert (status.written, status.on_disk) == (450, 0)
    assert balanced(status)
    sink.gate.set()


def test_a_sink_that_throws_gets_its_records_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "_FIRST_PAUSE", 0.01)
    sink = RecordCollector()
    sink.failing = True
    box = Outbox(sink, name="x", memory=1000, spool=Spool(tmp_path), patience=0.01)
    fill(box, 0, 100)
    wait_for(lambda: box.status.on_disk > 0 and sink.calls > 2)
    status = box.status
    assert status.failed >= 2
    assert status.error == "OSError: no route"
    assert balanced(status)
    sink.failing = False
    fill(box, 100, 120)
    wait_for(lambda: box.status.written == 120)
    status = box.close()
    assert sink.frames == list(range(120))
    assert status.spilled > 0
    assert (status.on_disk, status.dropped) == (0, 0)
    assert balanced(status)


def test_a_function_that_throws_loses_that_call_only() -> None:
    seen = []

    def function(item: object) -> None:
        index = item.index  # type: ignore[attr-defined]
        if index % 3 == 0:
            raise RuntimeError("a bug of the user's")
        seen.append(index)

    box = Outbox(CallbackSink(function), name="x")
    fill(box, 0, 30)
    status = box.close()
    assert seen == [n for n in range(30) if n % 3]
    assert (status.written, status.skipped, status.failed) == (20, 10, 10)
    assert status.error == "RuntimeError: a bug of the user's"
    assert balanced(status)


def test_without_a_disk_the_newest_are_dropped_and_counted() -> None:
    sink = Collector()
    sink.gate.clear()
    box = Outbox(sink, name="x", memory=10)
    fill(box, 0, 1)
    wait_for(lambda: sink.calls == 1)
    assert fill(box, 1, 50) < 1.0
    status = box.status
    assert (status.waiting, status.dropped) == (1 + 10, 39)
    assert balanced(status)
    sink.gate.set()
    status = box.close()
    assert sink.frames == list(range(11))
    assert balanced(status)


def test_what_a_hanging_sink_holds_at_the_end_is_counted() -> None:
    sink = Collector()
    sink.gate.clear()
    box = Outbox(sink, name="x", memory=10)
    fill(box, 0, 5)
    status = box.close(timeout=0.1)
    assert (status.dropped, status.written, status.waiting) == (5, 0, 0)
    assert balanced(status)
    sink.gate.set()


def test_a_full_disk_holds_nobody_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "_SPILL_PAUSE", 0.01)
    monkeypatch.setattr(outbox, "_FIRST_PAUSE", 0.01)
    spool = Spool(tmp_path)
    append = spool.append
    full = True

    def no_space(block: list[bytes]) -> None:
        if full:
            raise OSError(errno.ENOSPC, "No space left on device")
        append(block)

    monkeypatch.setattr(spool, "append", no_space)
    sink = RecordCollector()
    sink.failing = True
    box = Outbox(sink, name="x", memory=32, spool=spool, patience=0.01)
    assert fill(box, 0, 100) < 1.0
    wait_for(lambda: "No space left" in (box.status.error or "") or sink.calls > 5)
    status = box.status
    assert status.on_disk == 0
    assert 32 <= status.waiting <= 32 + 64
    assert balanced(status)
    full = sink.failing = False
    wait_for(lambda: box.status.written == status.waiting)
    status = box.close()
    assert sink.frames[:32] == list(range(32))
    assert sink.frames == sorted(set(sink.frames))
    assert balanced(status)


def test_the_bound_of_the_disk_is_reported(tmp_path: Path) -> None:
    sink = RecordCollector()
    sink.gate.clear()
    box = Outbox(sink, name="x", memory=20, spool=Spool(tmp_path, max_bytes=8000), patience=0.01)
    for start in range(0, 200, 10):
        fill(box, start, start + 10)
        time.sleep(0.02)
    wait_for(lambda: box.status.dropped > 0)
    status = box.status
    assert 0 < status.on_disk < 30
    assert "holds its 8,000 bytes" in str(status.error)
    assert balanced(status)
    sink.gate.set()
    status = box.close()
    assert sink.frames == sorted(set(sink.frames)), "in order, none twice"
    assert len(sink.frames) == status.written == 200 - status.dropped
    assert balanced(status)


def test_damaged_lines_are_counted_and_the_rest_arrives(tmp_path: Path) -> None:
    (tmp_path / "000000000001.jsonl").write_bytes(b'{"frame": 1}\n\0\0garbage\n{"frame": 2}\n{"fr')
    sink = RecordCollector()
    box = Outbox(sink, name="x", spool=Spool(tmp_path))
    wait_for(lambda: box.status.written == 2)
    status = box.close()
    assert sink.frames == [1, 2]
    assert (status.recovered, status.dropped) == (4, 2)
    assert balanced(status)


def test_what_the_sink_held_comes_first_after_a_restart(tmp_path: Path) -> None:
    away = RecordCollector()
    away.failing = True
    box = Outbox(away, name="away", spool=Spool(tmp_path), patience=0.01)
    fill(box, 0, 3)
    wait_for(lambda: box.status.failed > 0)  # the sink holds the first ones
    fill(box, 3, 9)
    wait_for(lambda: box.status.on_disk > 0)  # later ones went past it
    assert box.close(timeout=0.1).on_disk == 9
    back = RecordCollector()
    box = Outbox(back, name="back", spool=Spool(tmp_path))
    wait_for(lambda: box.status.written == 9)
    assert balanced(box.close())
    assert back.frames == list(range(9))


def test_a_segment_that_cannot_be_read_waits_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in (1, 2):
        (tmp_path / f"{number:012d}.jsonl").write_text(f'{{"frame": {number}}}\n')
    spool = Spool(tmp_path)
    read = Path.read_bytes
    failing = True

    def bad_sector(path: Path) -> bytes:
        if failing and path.stem.endswith("1"):
            raise OSError(errno.EIO, "Input/output error")
        return read(path)

    monkeypatch.setattr(outbox, "_SPILL_PAUSE", 0.01)
    monkeypatch.setattr(Path, "read_bytes", bad_sector)
    sink = RecordCollector()
    box = Outbox(sink, name="x", spool=spool, patience=0.01)
    box.put(inspection(3))
    wait_for(lambda: box.status.written == 2)
    status = box.status
    assert (sorted(sink.frames), status.on_disk, status.dropped) == ([2, 3], 1, 0)
    assert "Input/output error" in str(status.error)
    assert balanced(status)
    failing = False
    wait_for(lambda: box.status.written == 3)
    status = box.close()
    assert (sorted(sink.frames), status.on_disk) == ([1, 2, 3], 0)
    assert balanced(status)
