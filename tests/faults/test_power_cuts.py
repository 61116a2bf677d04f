"""A power cut after each operation of a save: the reader finds the old engine or the new one."""

from __future__ import annotations

from pathlib import Path

import pytest
from engine_factory import engine_bytes, small_engine
from faults.disk_model import Operation, states_after
from faults.recorder import Recorder

from pyad_edge import EngineError
from pyad_edge.engine import read_engine
from pyad_edge.export.engine_writer import write_engine
from pyad_edge.private_files import write_private

OLD, NEW = small_engine(seed=1), small_engine(seed=2)
OLD_BYTES, NEW_BYTES = engine_bytes(*OLD), engine_bytes(*NEW)


@pytest.fixture
def save(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Operation]:
    """The operations that replace the old engine by the new one."""
    path = tmp_path / "part.pyad"
    write_engine(path, manifest=OLD[0], tensors=OLD[1])
    with monkeypatch.context() as patch:
        recorder = Recorder(tmp_path, patch)
        write_engine(path, manifest=NEW[0], tensors=NEW[1])
    return recorder.operations


def found_after(operations: list[Operation]) -> set[bytes]:
    return {
        state.get("part.pyad", b"")
        for n in range(len(operations) + 1)
        for state in states_after(operations[:n], {"part.pyad": OLD_BYTES})
    }


def test_every_crash_prefix_leaves_the_old_or_the_new_engine(
    save: list[Operation], tmp_path: Path
) -> None:
    names = [operation.name for operation in save]
    writes = ["write"] * names.count("write")
    assert names == ["create", *writes, "fsync", "rename", "fsync_folder"]
    assert names.count("write") == 1 + len(NEW[1])
    assert found_after(save) == {OLD_BYTES, NEW_BYTES}
    # When the save has returned, no power cut takes it back.
    finished = list(states_after(save, {"part.pyad": OLD_BYTES}))
    assert finished == [{"part.pyad": NEW_BYTES}]
    # What may lie beside it never opens, or is the whole new engine.
    beside = {
        content
        for n in range(len(save) + 1)
        for state in states_after(save[:n], {"part.pyad": OLD_BYTES})
        for name, content in state.items()
        if name != "part.pyad"
    }
    assert len(beside) > 2 * names.count("write")
    partial = tmp_path / "partial.pyad"
    for content in beside - {NEW_BYTES, OLD_BYTES}:
        partial.write_bytes(content)
        with pytest.raises(EngineError):
            read_engine(partial)


@pytest.mark.parametrize("forgotten", ["fsync", "fsync_folder"])
def test_the_model_would_see_a_flush_that_is_missing(save: list[Operation], forgotten: str) -> None:
    without = [operation for operation in save if operation.name != forgotten]
    damaged = found_after(without) - {OLD_BYTES, NEW_BYTES}
    finished = list(states_after(without, {"part.pyad": OLD_BYTES}))
    if forgotten == "fsync":
        assert damaged, "a name that is safe before its bytes are"
    else:
        assert {"part.pyad": OLD_BYTES} in [
            {name: content for name, content in state.items() if name == "part.pyad"}
            for state in finished
        ]


def test_remembered_versions_and_signatures_flush_bytes_and_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "versions.json"
    path.write_bytes(b"old")
    with monkeypatch.context() as patch:
        recorder = Recorder(tmp_path, patch)
        write_private(path, b"new", b" bytes")
    names = [operation.name for operation in recorder.operations]
    assert names == ["create", "fsync", "rename", "fsync_folder"]  # written by a file object
