"""Saving: equal bytes for equal input, and the old engine or the new one whatever happens."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engine_factory import engine_bytes, small_engine

from pyad_edge.engine import read_engine
from pyad_edge.errors import EngineError, ResourceError, SettingError
from pyad_edge.export.atomic_file import PARTIAL_SUFFIX
from pyad_edge.export.engine_writer import write_engine

OLD = small_engine(seed=1)
NEW = small_engine(seed=2)
OLD_BYTES, NEW_BYTES = engine_bytes(*OLD), engine_bytes(*NEW)
WRITES = 1 + len(NEW[1])  # the header, then every tensor; all are smaller than one chunk


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """An engine that is already there."""
    manifest, tensors = OLD
    return write_engine(tmp_path / "part.pyad", manifest=manifest, tensors=tensors)


def save_new(path: Path) -> None:
    manifest, tensors = NEW
    write_engine(path, manifest=manifest, tensors=tensors)


def only_file(path: Path, content: bytes) -> None:
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    assert path.read_bytes() == content


def fail_at(
    monkeypatch: pytest.MonkeyPatch, name: str, call: int, error: BaseException
) -> Callable[[], int]:
    """Let the given call of ``os.<name>`` fail; the number of calls comes back."""
    real: Callable[..., Any] = getattr(os, name)
    calls = 0

    def failing(*args: object) -> object:
        nonlocal calls
        calls += 1
        if calls == call:
            raise error
        return real(*args)

    monkeypatch.setattr(os, name, failing)
    return lambda: calls


def test_replaces_the_old_engine(path: Path) -> None:
    save_new(path)
    only_file(path, NEW_BYTES)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
@pytest.mark.parametrize("call", range(1, WRITES + 1))
def test_disk_fails_during_write(
    path: Path, monkeypatch: pytest.MonkeyPatch, call: int, code: int
) -> None:
    calls = fail_at(monkeypatch, "write", call, OSError(code, os.strerror(code)))
    with pytest.raises(ResourceError) as caught:
        save_new(path)
    assert calls() == call
    assert str(path) in str(caught.value)
    assert os.strerror(code) in str(caught.value)
    assert f"{len(NEW_BYTES):,} bytes" in str(caught.value)
    assert "bytes are free" in str(caught.value)
    only_file(path, OLD_BYTES)


def test_a_real_limit_in_the_middle_of_a_write(path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, hard))
    try:
        with pytest.raises(ResourceError, match="File too large"):
            save_new(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    only_file(path, OLD_BYTES)


def test_number_of_writes(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = fail_at(monkeypatch, "write", 0, OSError())
    save_new(path)
    assert calls() == WRITES


def test_disk_fails_during_flush(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fail_at(monkeypatch, "fsync", 1, OSError(errno.ENOSPC, "No space left on device"))
    with pytest.raises(ResourceError, match="No space left on device"):
        save_new(path)
    only_file(path, OLD_BYTES)


def test_disk_fails_after_the_rename(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fail_at(monkeypatch, "fsync", 2, OSError(errno.EIO, "Input/output error"))
    with pytest.raises(ResourceError, match=r"is saved, but .* a power cut may undo it"):
        save_new(path)
    only_file(path, NEW_BYTES)


def test_partial_writes_are_continued(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: real(descriptor, data[:7]))
    save_new(path)
    only_file(path, NEW_BYTES)


@pytest.mark.parametrize(("name", "call"), [("write", 1), ("write", 5), ("fsync", 1)])
def test_ctrl_c(path: Path, monkeypatch: pytest.MonkeyPatch, name: str, call: int) -> None:
    fail_at(monkeypatch, name, call, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        save_new(path)
    only_file(path, OLD_BYTES)


def test_bytes_that_change_on_the_way_replace_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: real(fd, bytes(len(data))))
    with pytest.raises(EngineError, match=r"part.pyad is not an engine file") as caught:
        save_new(path)
    assert PARTIAL_SUFFIX not in str(caught.value)
    only_file(path, OLD_BYTES)


def test_folders(tmp_path: Path, path: Path) -> None:
    with pytest.raises(SettingError, match=r"missing/part\.pyad cannot be written: No such file"):
        save_new(tmp_path / "missing" / "part.pyad")
    with pytest.raises(SettingError, match="is a folder"):
        save_new(tmp_path)
    with pytest.raises(
        SettingError, match=r"part\.pyad/x\.pyad cannot be written: Not a directory"
    ):
        save_new(path / "x.pyad")


def test_folder_without_permission(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fail_at(monkeypatch, "open", 1, PermissionError(errno.EACCES, "Permission denied"))
    with pytest.raises(SettingError, match="Permission denied"):
        save_new(path)
    monkeypatch.undo()
    only_file(path, OLD_BYTES)


def test_link_is_followed(tmp_path: Path, path: Path) -> None:
    link = tmp_path / "links" / "current.pyad"
    link.parent.mkdir()
    link.symlink_to(path)
    save_new(link)
    assert link.is_symlink()
    assert path.read_bytes() == NEW_BYTES


def test_longest_name(tmp_path: Path) -> None:
    path = tmp_path / ("é" * 125 + ".pyad")  # 255 bytes
    save_new(path)
    only_file(path, NEW_BYTES)


def test_partial_file_of_a_live_writer_stays(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second save of the same file, in the middle of the first one."""
    real = os.fsync
    nested: list[list[str]] = []

    def save_within(descriptor: int) -> None:
        if not nested:
            nested.append([])
            manifest, tensors = OLD
            write_engine(path, manifest=manifest, tensors=tensors)
            nested.append([file.name for file in path.parent.glob(f".*{PARTIAL_SUFFIX}")])
        real(descriptor)

    monkeypatch.setattr(os, "fsync", save_within)
    save_new(path)
    assert len(nested[1]) == 1
    only_file(path, NEW_BYTES)


@pytest.mark.parametrize(
    ("name", "tensor", "reason"),
    [
        ("bank/features", np.zeros((5, 8), np.float16), "got float16 of shape"),
        ("bank/features", np.zeros((0, 8), np.float32), r"non-empty .* shape \(0, 8\)"),
        ("bank/features", np.float32(1), r"non-empty .* shape \(\)"),
        ("bank/features", np.array(["text"]), "got str"),
        ("../escape", np.zeros(1, np.uint8), "tensors"),
    ],
)
def test_tensors_that_no_engine_holds(path: Path, name: str, tensor: Any, reason: str) -> None:
    manifest, tensors = NEW
    with pytest.raises(EngineError, match=reason):
        write_engine(path, manifest=manifest, tensors={**tensors, name: tensor})
    only_file(path, OLD_BYTES)


# Saves engine A and engine B in turn until it is killed, a hundred times over. Forking a process
# that has already imported everything makes a hundred kills a matter of seconds.
KILLS = """
import os, random, signal, sys, time
from pathlib import Path
from engine_factory import engine_bytes, small_engine
from pyad_edge.engine import read_engine
from pyad_edge.export.engine_writer import write_engine

path = Path(sys.argv[1])
engines = [small_engine(seed=seed, rows=40_000) for seed in (1, 2)]
expected = [engine_bytes(*engine) for engine in engines]
write_engine(path, manifest=engines[0][0], tensors=engines[0][1])
start = time.perf_counter()
write_engine(path, manifest=engines[1][0], tensors=engines[1][1])
save_time = time.perf_counter() - start
moments = random.Random(7)
seen = [0, 0]
partials = 0
for _ in range(100):
    child = os.fork()
    if child == 0:
        while True:
            for manifest, tensors in engines:
                write_engine(path, manifest=manifest, tensors=tensors)
    time.sleep(moments.uniform(0, 4 * save_time))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    read_engine(path)
    seen[expected.index(path.read_bytes())] += 1
    partials += len(list(path.parent.glob(".*.pyad-partial")))
write_engine(path, manifest=engines[0][0], tensors=engines[0][1])
print(*seen, partials, len(list(path.parent.iterdir())))
"""


def test_a_hundred_kills_leave_the_old_or_the_new_engine(tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "PYTHONPATH": str(Path(__file__).parents[1]),
        "OPENBLAS_NUM_THREADS": "1",  # so that forking is safe
    }
    done = subprocess.run(
        [sys.executable, "-c", KILLS, str(tmp_path / "part.pyad")],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    old, new, partials, files = map(int, done.stdout.split())
    assert old + new == 100
    assert min(old, new) > 0, "the kills came before the first save, so they proved nothing"
    assert partials > 0, "no kill hit a save, so they proved nothing"
    assert files == 1, "partial files of killed writers should be swept away"
    assert read_engine(tmp_path / "part.pyad").manifest.training.seed == 1
