"""A power cut after each operation of an outbox: what was synced comes back, nothing else."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from faults.disk_model import Operation, states_after
from faults.recorder import Recorder

from pyad_edge.sinks import Spool
from pyad_edge.sinks import spool as module

LINES = [json.dumps({"n": n}).encode() for n in range(10)]


def deliver_three(spool: Spool) -> None:
    """Two segments, of which the first is delivered but for its last line."""
    for n in range(0, 6, 2):
        spool.append(LINES[n : n + 2])  # the second one ends a segment
    assert spool.peek(3) == LINES[:3]
    spool.acknowledge(3)
    spool.close()


def put_back(spool: Spool) -> None:
    """What a sink held when the program ended goes before all others."""
    spool.append(LINES[3:5])
    spool.prepend(LINES[0:3])
    spool.append(LINES[5:6])
    spool.close()


def deliver_all(spool: Spool) -> None:
    """A segment that is deleted, and one after it."""
    spool.append(LINES[0:4])
    assert len(spool.peek(9)) == 4
    spool.acknowledge(4)
    spool.append(LINES[4:6])
    spool.close()


def recorded(
    life: Callable[[Spool], None], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> list[Operation]:
    monkeypatch.setattr(module, "SEGMENT_BYTES", 4 * len(LINES[0]))
    spool = Spool(folder)
    with monkeypatch.context() as patch:
        recorder = Recorder(folder, patch)
        life(spool)
    operations: list[Operation] = recorder.operations
    return operations


def safe_lines(operations: list[Operation]) -> set[bytes]:
    """Lines of files that were flushed, under names that were flushed and not taken away since."""
    names: dict[str, int] = {}
    flushed: dict[int, bytes] = {}
    written: dict[int, bytes] = {}
    safe: dict[str, int] = {}
    for one in operations:
        if one.name == "create":
            names[one.path], written[one.file] = one.file, b""
        elif one.name == "write":
            written[one.file] += one.data
        elif one.name == "fsync":
            flushed[one.file] = written[one.file]
        elif one.name == "rename":
            names[one.path] = names.pop(one.source)
            safe.pop(one.path, None)
        elif one.name == "unlink":
            del names[one.path]
            safe.pop(one.path, None)
        elif one.name == "fsync_folder":
            safe = dict(names)
    kept = (flushed.get(file, b"") for name, file in safe.items() if name.endswith(".jsonl"))
    return {line for content in kept for line in content.splitlines()}


def reopened(state: dict[str, bytes], folder: Path) -> tuple[list[bytes], int]:
    """What a spool gives of such a folder: lines in order, and how many it says are damaged."""
    folder.mkdir()
    for name, content in state.items():
        (folder / name).write_bytes(content)
    spool = Spool(folder)
    found: list[bytes] = []
    while part := spool.peek(3):
        found += part
        spool.acknowledge(len(part))
    spool.close()
    assert [path.name for path in folder.iterdir()] == ["lock"], "nothing is left lying about"
    return found, spool.damaged


@pytest.mark.parametrize(("life", "first"), [(deliver_three, 3), (put_back, 0), (deliver_all, 4)])
def test_every_crash_prefix_gives_back_what_was_synced(
    life: Callable[[Spool], None], first: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    operations = recorded(life, tmp_path / "recorded", monkeypatch)
    names = [operation.name for operation in operations]
    assert names.count("fsync_folder") >= 2
    assert names.count("write") >= 2
    folders = itertools.count()
    seen: set[tuple[frozenset[tuple[str, bytes]], frozenset[bytes]]] = set()
    for n in range(len(operations) + 1):
        safe = frozenset(safe_lines(operations[:n]))
        for state in states_after(operations[:n], {}):
            seen.add((frozenset(state.items()), safe))
    cut_off = 0
    for items, required in seen:
        found, damaged = reopened(dict(items), tmp_path / str(next(folders)))
        assert required <= set(found) <= set(LINES), "no half line comes out"
        assert list(dict.fromkeys(found)) == sorted(set(found)), "the oldest first"
        cut_off += damaged
    assert len(seen) > 12
    assert cut_off > 0, "some states have half lines, and they are counted"
    finished = list(states_after(operations, {}))
    assert len(finished) == 1, "when close has returned, no power cut takes anything back"
    assert reopened(finished[0], tmp_path / "end") == (LINES[first:6], 0)


def test_the_model_would_see_a_flush_that_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    operations = recorded(deliver_three, tmp_path / "recorded", monkeypatch)
    for forgotten in ("fsync", "fsync_folder"):
        without = [operation for operation in operations if operation.name != forgotten]
        lines = {
            tuple(line for content in state.values() for line in content.splitlines())
            for state in states_after(without, {})
        }
        assert len(lines) > 1, "lines that were handed over may be gone after a power cut"
