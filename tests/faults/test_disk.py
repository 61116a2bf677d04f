"""Every file operation of every save fails once: the old file or the new one, nothing else left."""

from __future__ import annotations

import os
from errno import EIO, ENOSPC
from pathlib import Path

import pytest
from faults.shims import needs_shims, run_with
from tiny_engine import TinyEngine

# What each save has to pass through, or the shim saw nothing.
WRITES = {"open", "write", "close", "rename"}
SAVES = {
    "engine": WRITES | {"fsync", "read", "flock", "fstat"},
    "checkpoint": WRITES | {"fsync", "flock"},
    "signature": WRITES | {"fsync", "read"},
    "versions": WRITES | {"fsync", "read", "flock"},
    "picture": WRITES,
    "plan": WRITES | {"fsync", "read", "stat"},
    "device_key": {"open", "write", "close", "fsync", "link", "unlink"},
    "keys": {"open", "write", "close", "fsync", "link", "unlink", "chmod"},
    "record": WRITES | {"fsync", "chmod"},
    "drift": WRITES | {"fsync"},
    "figures": WRITES | {"fsync"},
}
OPTIONAL = {"signature": "cryptography", "keys": "cryptography", "figures": "matplotlib"}
# Codes of refusals; a cache that cannot be read is the backend's.
EXITS = {"plan": {5, 6}, "device_key": {5, 6}}


@needs_shims
@pytest.mark.parametrize("kind", SAVES)
def test_the_nth_operation_fails(kind: str, tiny: TinyEngine, tmp_path: Path) -> None:
    if kind in OPTIONAL:
        pytest.importorskip(OPTIONAL[kind])
    folder = tmp_path / "disk"
    folder.mkdir()
    tries = run_with("failing_disk", "disk_cases.py", kind, folder, tiny.path, folder=tmp_path)
    assert {one["operation"] for one in tries} >= SAVES[kind]
    for one in tries:
        assert one["is_old"] != one["is_new"], one
        sentence = one["sentence"]
        if one["error"] is None:
            assert one["is_new"], one
        else:
            assert one["exit"] in EXITS.get(kind, {2, 3, 4, 6}), one
            assert sentence.startswith("["), one
            # A key that is there may have no plan yet.
            assert one["is_old"] or "is saved" in sentence or kind == "device_key", one
            assert one["is_new"] or "is saved" not in sentence, one
            if one["errno"] in ("ENOSPC", "EIO"):
                assert os.strerror(ENOSPC if one["errno"] == "ENOSPC" else EIO) in sentence, one
        assert one["onwards"] or not one["left"], one
        assert one["mended"], one
        assert one["swept"], one
    writes = [one for one in tries if one["operation"] == "write"]
    assert all(one["is_old"] for one in writes) or kind == "device_key"
    assert {one["exit"] for one in writes if one["errno"] != "EACCES"} == {6}
