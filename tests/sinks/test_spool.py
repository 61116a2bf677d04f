"""The queue on disk: in order, bounded, and still there after a crash."""

from __future__ import annotations

import errno
import io
import os
from pathlib import Path

import pytest

from pyad_edge import ResourceError
from pyad_edge.sinks import Spool, SpoolFullError
from pyad_edge.sinks import spool as module


def lines(start: int, stop: int, width: int = 0) -> list[bytes]:
    return [f"{n:0{width}d}".encode() for n in range(start, stop)]


def drain(spool: Spool) -> list[bytes]:
    found: list[bytes] = []
    while part := spool.peek(7):
        found += part
        spool.acknowledge(len(part))
    return found


def test_lines_come_out_in_order_and_their_files_go(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.append(lines(0, 10))
    assert spool.peek(3) == lines(0, 3) == spool.peek(3)
    spool.append(lines(10, 20))
    assert len(spool) == 20
    assert drain(spool) == lines(0, 20)
    assert len(spool) == 0
    spool.close()
    assert [path.name for path in tmp_path.iterdir()] == ["lock"]


def test_lines_outlive_a_crash_and_a_clean_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SEGMENT_BYTES", 40)
    first = Spool(tmp_path)
    for n in range(0, 30, 3):
        first.append(lines(n, n + 3, width=5))
    assert len(list(tmp_path.glob("*.jsonl"))) > 2
    assert first.peek(4) == lines(0, 4, width=5)
    first.acknowledge(4)
    for file in (first._lock_file, first._file):  # as a crash does: nothing else is done
        assert file is not None
        file.close()
    second = Spool(tmp_path)
    assert (len(second), second.damaged) == (30, 0), "a started segment comes again"
    assert second.peek(8) == lines(0, 8, width=5)[: len(second.peek(8))]
    second.acknowledge(2)
    second.append(lines(30, 32, width=5))
    second.close()
    third = Spool(tmp_path)
    assert drain(third) == lines(2, 32, width=5), "a clean end repeats nothing"
    third.close()


def test_a_line_that_a_crash_cut_off_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "000000000007.jsonl").write_bytes(b"1\n2\n{half")
    spool = Spool(tmp_path)
    assert (len(spool), spool.damaged) == (2, 1)
    spool.append([b"3"])
    assert sorted(path.name for path in tmp_path.glob("*.jsonl"))[1] == "000000000008.jsonl"
    assert drain(spool) == [b"1", b"2", b"3"]
    spool.close()


def test_the_bound_holds(tmp_path: Path) -> None:
    spool = Spool(tmp_path, max_bytes=100)
    spool.append(lines(0, 9, width=9))
    with pytest.raises(SpoolFullError, match="holds its 100 bytes"):
        spool.append(lines(0, 2, width=9))
    assert len(spool) == 9
    spool.append([b"123456789"])
    assert len(drain(spool)) == 10
    spool.append(lines(0, 9, width=9))
    assert len(spool) == 9
    spool.close()


class FullDisk(io.RawIOBase):
    """A file whose disk is full after a few bytes."""

    def __init__(self, file: io.RawIOBase, room: int) -> None:
        self._file, self._room = file, room

    def write(self, block: object) -> int:
        if self._room <= 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        part = bytes(block)[: self._room]  # type: ignore[call-overload]
        self._room -= len(part)
        return self._file.write(part) or 0

    def truncate(self, size: int | None = None) -> int:
        return self._file.truncate(size)

    def fileno(self) -> int:
        return self._file.fileno()

    def close(self) -> None:
        self._file.close()


def test_a_full_disk_leaves_no_half_line(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.append(lines(0, 3))
    spool._file = FullDisk(spool._file, room=5)  # type: ignore[arg-type, assignment]
    with pytest.raises(OSError, match="No space left"):
        spool.append(lines(3, 9))
    assert len(spool) == 3
    spool.append(lines(3, 9))  # there is room again
    assert drain(spool) == lines(0, 9)
    spool.close()


def test_one_program_at_a_time(tmp_path: Path) -> None:
    pytest.importorskip("fcntl")
    spool = Spool(tmp_path / "a")
    with pytest.raises(ResourceError, match=r"another program uses this outbox.*--outbox"):
        Spool(tmp_path / "a")
    spool.close()
    Spool(tmp_path / "a").close()
    (tmp_path / "file").write_text("")
    with pytest.raises(ResourceError, match="cannot be used"):
        Spool(tmp_path / "file")


def test_what_is_put_first_comes_first_after_a_restart_too(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.append([b"3", b"4"])
    spool.prepend([b"1", b"2"])
    spool.append([b"5"])
    spool.close()
    again = Spool(tmp_path)
    assert len(again) == 5
    assert again.peek(2) == [b"1", b"2"]
    with pytest.raises(OSError, match="being delivered"):
        again.prepend([b"0"])
    again.acknowledge(2)
    assert again.peek(9) == [b"3", b"4", b"5"]
    again.close()


def test_a_segment_that_cannot_be_read_holds_up_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SEGMENT_BYTES", 40)
    spool = Spool(tmp_path)
    for n in range(0, 12, 3):
        spool.append(lines(n, n + 3, width=9))  # three lines are less than a segment, six more
    bad = min(tmp_path.glob("*.jsonl"))
    read, bad_sector = Path.read_bytes, True

    def failing(path: Path) -> bytes:
        if path == bad and bad_sector:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", failing)
    for _ in range(module._MOST_READS):
        with pytest.raises(OSError, match="Input/output error"):
            spool.peek(7)
    spool.append(lines(12, 14, width=9))
    assert len(spool) == 14
    found = []
    for _ in range(20):
        try:
            part = spool.peek(7)
        except OSError:
            continue
        found += part
        spool.acknowledge(len(part))
    assert found == lines(6, 14, width=9), "all but the six that cannot be read"
    assert len(spool) == 6
    assert bad.exists(), "and these are kept"
    spool.append(lines(14, 15, width=9))
    bad_sector = False
    assert sorted(drain(spool)) == lines(0, 6, width=9) + lines(14, 15, width=9)
    spool.close()
    assert [path.name for path in tmp_path.iterdir()] == ["lock"]
