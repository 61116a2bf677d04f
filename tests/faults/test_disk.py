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
}


@needs_shims
@pytest.mark.parametrize("kind", SAVES)
def test_the_nth_operation_fails(kind: str, tiny: TinyEngine, tmp_path: Path) -> None:
    if kind == "signature":
        pytest.importorskip("cryptography")
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
            assert one["exit"] in (2, 3, 4, 6), one
            assert sentence.startswith("["), one
            assert one["is_old"] or "is saved" in sentence, one
            assert one["is_new"] or "is saved" not in sentence, one
            if one["errno"] in ("ENOSPC", "EIO"):
                assert os.strerror(ENOSPC if one["errno"] == "ENOSPC" else EIO) in sentence, one
        assert one["onwards"] or not one["left"], one
        assert one["mended"], one
        assert one["swept"], one
    writes = [one for one in tries if one["operation"] == "write"]
    assert all(one["is_old"] for one in writes)
    assert {one["exit"] for one in writes if one["errno"] != "EACCES"} == {6}
