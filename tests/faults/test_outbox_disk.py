"""Every file operation of an outbox and its sink fails once: what is lost is counted."""

from __future__ import annotations

import errno
import itertools
import os
from pathlib import Path
from typing import Any

import pytest
from faults.shims import needs_shims, run_with

from pyad_edge import ResourceError
from pyad_edge.sinks import Spool
from pyad_edge.sinks import spool as module

RECORDS = {"open", "write", "read", "close", "fsync", "flock", "unlink"}
SEEN = {"jsonl": RECORDS, "csv": RECORDS, "overlays": {"open", "write", "rename"}}
LEFT = {"jsonl": {"lock", "log.jsonl"}, "csv": {"lock", "log.csv"}, "overlays": set()}


def counted(status: dict[str, Any]) -> bool:
    gone = status["written"] + status["skipped"] + status["dropped"]
    return bool(
        status["taken"] + status["recovered"] == gone + status["waiting"] + status["on_disk"]
    )


@needs_shims
@pytest.mark.parametrize("kind", SEEN)
def test_the_nth_operation_fails(kind: str, tmp_path: Path) -> None:
    folder = tmp_path / "disk"
    folder.mkdir()
    tries = run_with("failing_disk", "outbox_cases.py", kind, folder, folder=tmp_path)
    assert {one["operation"] for one in tries} >= SEEN[kind]
    everything = set(range(tries[0]["status"]["taken"]))
    assert len(everything) >= 2
    assert set(tries[0]["frames"]) == everything
    if kind != "overlays":
        assert tries[0]["status"]["spilled"] > 0, "nothing went to the disk, so this proves nothing"
    for one in tries:
        for sentence in one["refused"]:
            assert sentence.startswith(("[sink]", "[outbox]", "[save]")), one
        assert one["slowest_s"] < 1.0, one
        status, missing = one["status"], everything - set(one["frames"])
        if not status:  # it never opened: said at the start, twice
            assert one["onwards"], one
            continue
        assert status["taken"] == len(everything), one
        assert counted(status), one
        assert counted(one["later"]), one
        given_up = status["dropped"] + status["skipped"] + one["later"]["dropped"]
        assert len(missing) <= given_up, one
        if not one["onwards"]:
            # One failure costs nothing but the picture that it hit.
            assert len(missing) <= (1 if kind == "overlays" else 0), one
            assert one["later"]["on_disk"] == 0, one
            assert not [name for name in one["left"] if name.endswith(".tmp")], one
            if kind != "overlays":
                assert set(one["left"]) == LEFT[kind], one


class _Failing:
    """Lets one call in the spool's life fail, in place of the n-th of the shim."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, n: int, code: int) -> None:
        self.calls, self._n, self._code = 0, n, code
        for name in ("open", "unlink", "replace"):
            monkeypatch.setattr(os, name, self._wrapped(getattr(os, name)))
        monkeypatch.setattr(os, "fsync", self._wrapped(lambda _: None))  # nobody pulls the plug
        for name in ("open", "read_bytes"):
            monkeypatch.setattr(Path, name, self._wrapped(getattr(Path, name)))
        monkeypatch.setattr(module, "_write_all", self._wrapped(module._write_all))

    def _wrapped(self, real: Any) -> Any:
        def call(*args: Any, **more: Any) -> Any:
            self.calls += 1
            if self.calls == self._n:
                raise OSError(self._code, os.strerror(self._code))
            return real(*args, **more)

        return call


def life(folder: Path) -> tuple[list[bytes], list[bytes]]:
    """Append, deliver, end, start again; each call twice where it fails. Stored and delivered."""
    stored: list[bytes] = []
    delivered: list[bytes] = []

    def twice(call: Any, *args: Any) -> Any:
        try:
            return call(*args)
        except (OSError, ResourceError):
            return call(*args)

    numbers = itertools.count()
    for start in range(2):
        spool = twice(Spool, folder)
        for step in range(9):
            block = [b"%05d" % next(numbers) for _ in range(3)]
            twice(spool.append, block)
            stored += block
            if step % 4 == 3:
                delivered += (found := twice(spool.peek, 5 + start))
                spool.acknowledge(len(found))
        spool.close()
    return stored, delivered


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EACCES])
def test_a_spool_that_fails_once_keeps_every_line_in_order(
    code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same without threads, so that every n is another operation."""
    monkeypatch.setattr(module, "SEGMENT_BYTES", 40)
    n, calls = 1, 1
    while n <= calls:
        folder = tmp_path / str(n)
        with monkeypatch.context() as patch:
            failing = _Failing(patch, n, code)
            stored, delivered = life(folder)
        calls = failing.calls
        spool = Spool(folder)
        assert spool.damaged == 0
        rest: list[bytes] = []
        while part := spool.peek(7):
            rest += part
            spool.acknowledge(len(part))
        spool.close()
        assert set(delivered + rest) == set(stored), n
        assert list(dict.fromkeys(delivered + rest)) == stored, n
        assert [path.name for path in folder.iterdir()] == ["lock"], n
        n += 1
    assert n > 40


def test_a_full_disk_is_not_filled_with_empty_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    spool = Spool(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(module, "_write_all", full)
        for _ in range(50):
            with pytest.raises(OSError, match="No space left"):
                spool.append([b"1"])
    assert [path.name for path in tmp_path.iterdir()] == ["lock"]
    spool.append([b"1"])
    assert spool.peek(2) == [b"1"]
    spool.close()


def test_lines_that_the_disk_lost_come_out_empty_and_are_counted(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.append([b"1", b"2", b"3"])
    (segment,) = tmp_path.glob("*.jsonl")
    os.truncate(segment, 3)
    spool.append([b"4"])  # the disk has a hole before it
    assert len(spool) == 4
    found = spool.peek(9)
    assert len(found) == 4
    assert found[0] == b"1"
    assert b"2" not in found
    spool.close()
