"""Two processes at one outbox or file, one of them killed; clocks that jump under an outbox."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sinks.inspections import RecordCollector, inspection, wait_for

from pyad_edge import DataError, ResourceError
from pyad_edge.sinks import JsonLinesSink, Outbox, Spool, open_outbox, outbox

pytest.importorskip("fcntl")

TESTS = Path(__file__).resolve().parents[1]
HOLDER = """
import sys, time
from pathlib import Path
from sinks.inspections import RecordCollector, inspection
from pyad_edge.sinks import JsonLinesSink, Outbox, Spool

sink = RecordCollector()
sink.failing = True  # whoever it is for is away
box = Outbox(sink, name="held", spool=Spool(Path(sys.argv[1])), patience=0.01)
log = JsonLinesSink(Path(sys.argv[2]))
for n in range(30):
    box.put(inspection(n))
    log.write(inspection(n))
    while n == 0 and box.status.failed == 0:  # what the sink was given at once stays in memory
        time.sleep(0.001)
while box.status.on_disk < 30 - 1 and box.status.on_disk + box.status.waiting < 30:
    time.sleep(0.01)
while True:
    print(box.status.on_disk, flush=True)
    time.sleep(0.05)
"""


@contextmanager
def holder(folder: Path, log: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that holds 30 records, most of them on disk, until it is killed."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder), str(log)],
        cwd=TESTS,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline()
        yield process
    finally:
        process.kill()
        process.wait(30)
        process.stdout.close()  # type: ignore[union-attr]


def test_the_second_process_is_refused_until_the_first_was_killed(tmp_path: Path) -> None:
    folder, log = tmp_path / "outbox", tmp_path / "log.jsonl"
    with holder(folder, log) as process:
        with pytest.raises(ResourceError, match=r"another program uses this outbox.*--outbox"):
            Spool(folder)
        # Another outbox is no way to write into the same file: each would write over the other.
        with pytest.raises(DataError, match=r"another program or sink writes to it.*another file"):
            open_outbox(f"jsonl:{log}", folder=tmp_path / "other")
        end, stored = time.monotonic() + 20, 0
        while stored == 0 and time.monotonic() < end:
            assert process.stdout is not None
            stored = int(process.stdout.readline())
        process.send_signal(signal.SIGKILL)
        process.wait(30)
    found = RecordCollector()
    box = Outbox(found, name="after", spool=Spool(folder))
    assert box.status.recovered >= stored > 0
    wait_for(lambda: box.status.on_disk == 0)
    status = box.close()
    assert status.written == status.recovered
    assert found.frames == sorted(set(found.frames))
    sink = JsonLinesSink(log)
    sink.write(inspection(30))
    sink.close()
    frames = [json.loads(line)["frame"] for line in log.read_text("utf-8").splitlines()]
    assert frames == list(range(31)), "what was handed to the system outlives the kill"


def test_two_sinks_of_one_program_do_not_share_a_file(tmp_path: Path) -> None:
    sink = JsonLinesSink(tmp_path / "log.jsonl")
    with pytest.raises(DataError, match="another program or sink writes to it"):
        JsonLinesSink(tmp_path / "log.jsonl")
    sink.close()
    JsonLinesSink(tmp_path / "log.jsonl").close()


@pytest.mark.parametrize("hours", [24, -24])
@pytest.mark.parametrize("name", ["time", "monotonic"])
def test_clocks_that_jump_cost_no_record_and_no_time(
    name: str, hours: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "_FIRST_PAUSE", 0.01)
    moved = 0.0
    real: Callable[[], float] = getattr(time, name)
    sink = RecordCollector()
    sink.failing = True
    box = Outbox(sink, name="x", memory=64, spool=Spool(tmp_path), patience=0.01)
    with monkeypatch.context() as patch:
        patch.setattr(time, name, lambda: real() + moved)
        for n in range(200):
            if n in (50, 120):
                moved += hours * 3600
            began = time.perf_counter()
            box.put(inspection(n))
            assert time.perf_counter() - began < 1.0
            if n % 20 == 19:
                wait_for(lambda: box._queue.waiting() < 44)
        sink.failing = False
        wait_for(lambda: box.status.written > 0)
        began, moved = time.perf_counter(), moved - hours * 3600
        status = box.close(timeout=5.0)
        assert time.perf_counter() - began < 8.0
    assert (status.taken, status.dropped, status.skipped) == (200, 0, 0)
    assert status.written + status.on_disk == 200
    rest = Spool(tmp_path)
    assert len(rest) == status.on_disk
    rest.close()
    assert sink.frames == list(range(len(sink.frames)))


def test_a_hung_disk_is_counted_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a thread stores after the outbox gave it up was counted as dropped already."""
    sink = RecordCollector()
    sink.failing = True
    spool = Spool(tmp_path)
    append = spool.append
    hung = RecordCollector().gate
    hung.clear()

    def slow(lines: list[bytes]) -> None:
        hung.wait(30)
        append(lines)

    monkeypatch.setattr(spool, "append", slow)
    box = Outbox(sink, name="x", spool=spool, patience=0.01)
    box.put(inspection(0))
    wait_for(lambda: box.status.failed > 0)  # the sink holds the first
    for n in range(1, 10):
        box.put(inspection(n))
    wait_for(lambda: box._queue.moving)
    status = box.close(timeout=0.1)
    assert (status.taken, status.dropped, status.on_disk, status.waiting) == (10, 10, 0, 0)
    hung.set()
    for thread in box._threads:
        thread.join(20)
    assert box.status.to_dict() == {**status.to_dict(), "failed": box.status.failed}
