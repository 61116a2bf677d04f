"""Saves each kind of file with the n-th file operation failing, for every n, and says what is left.

Run with ``failing_disk`` preloaded, as ``disk_cases.py KIND FOLDER ENGINE``: a line for each n and
errno.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

SHIM = ctypes.CDLL(None)
SHIM.disk_name.restype = ctypes.c_char_p
CODES = (errno.ENOSPC, errno.EIO, errno.EACCES)

# What saves version 0 or 1 of a file at a path.
Save = Callable[[Path, int], object]


def engine() -> tuple[str, Save]:
    from engine_factory import small_engine

    from pyad_edge.export.engine_writer import write_engine

    made = [small_engine(seed=seed) for seed in (1, 2)]
    return "part.pyad", lambda path, version: write_engine(
        path, manifest=made[version][0], tensors=made[version][1]
    )


def checkpoint() -> tuple[str, Save]:
    import torch

    from pyad_edge.export.training.checkpoint import save_checkpoint

    return "half.safetensors", lambda path, version: save_checkpoint(
        path, tensors={"weight": torch.full((64,), float(version))}, state={"iteration": version}
    )


def picture() -> tuple[str, Save]:
    import numpy as np

    from pyad_edge.disk import save_picture

    return "overlay.png", lambda path, version: save_picture(
        path, np.full((8, 8, 3), 100 * version, np.uint8)
    )


def signature() -> tuple[str, Save]:
    from pyad_edge.trust.keys import generate_keys
    from pyad_edge.trust.sign import sign_engine

    outside = Path(sys.argv[2]).with_name("signed")
    outside.mkdir()
    key = outside / "line.pem"
    generate_keys(key)

    def save(path: Path, version: int) -> object:
        return sign_engine(path.with_suffix(""), key=key, product="part", version=version + 1)

    return "part.pyad.sig", save


def versions() -> tuple[str, Save]:
    from pyad_edge.trust.state import VersionState

    return "versions.json", lambda path, version: VersionState(path.parent).remember(
        "part", version + 1
    )


def plan() -> tuple[str, Save]:
    from pyad_edge.backends.cache import store

    os.environ["PYAD_EDGE_CACHE"] = sys.argv[2]
    return f"backends/{'a' * 64}.plan", lambda path, version: store(
        "a" * 64, b"plan %d" % version, kind="plan", about={"version": version}
    )


def device_key() -> tuple[str, Save]:
    """Made with the first plan; version 0 is none."""
    from pyad_edge.backends.cache import store

    os.environ["PYAD_EDGE_CACHE"] = sys.argv[2]
    return (
        "backends/device.key",
        lambda _, version: version and store("a" * 64, b"plan", kind="plan", about={}),
    )


def keys() -> tuple[str, Save]:
    """A pair; version 0 is none."""
    from pyad_edge.trust.keys import generate_keys

    return "line.pem", lambda path, version: version and generate_keys(path)


def record() -> tuple[str, Save]:
    from pyad_edge.selftest.record import Check, Report, write_record

    check = Check(name="golden", passed=True, detail="as it was", figures={})
    return "record.json", lambda path, version: write_record(
        path,
        Report(time=f"2026-01-0{version + 1}", engine_sha256=None, host={}, checks=(check,)),
        key=None,
    )


def drift() -> tuple[str, Save]:
    """The monitor saves through this, whatever its state holds."""
    from pyad_edge.drift.state import _write

    return "drift.json", lambda path, version: _write(path, b"state %d" % version)


def figures() -> tuple[str, Save]:
    from pyad_edge.bench.command import write_report

    return "bench.json", lambda path, version: write_report(path, {"version": version})


def content(path: Path) -> bytes:
    """Of the file; of keys, which are random, only whether they are whole."""
    if not path.exists():
        return b""
    found = path.read_bytes()
    if path.name == "device.key":
        return b"key" if len(found) == 32 else found
    if path.name == "line.pem":
        return b"pair" if path.with_name("line.pub.pem").exists() else b"half a pair"
    return found


def put_back(path: Path, old: bytes) -> None:
    if old:
        path.write_bytes(old)
    else:
        for file in path.parent.glob("*"):
            file.unlink()


def attempt(save: Save, path: Path, n: int, code: int, *, onwards: bool) -> dict[str, Any]:
    """Save version 1 over version 0 with operation n failing; what is there then."""
    from pyad_edge.errors import PyadError

    old = content(path)
    error: BaseException | None = None
    SHIM.disk_arm(str(path.parent).encode(), n, code, int(onwards))
    try:
        save(path, 1)
    except Exception as caught:
        error = caught
    finally:
        calls = SHIM.disk_stop()
    return {
        "n": n,
        "calls": calls,
        "operation": SHIM.disk_name(n).decode(),
        "errno": errno.errorcode.get(code),
        "onwards": onwards,
        "error": None if error is None else type(error).__name__,
        "exit": error.exit_code if isinstance(error, PyadError) else None,
        "sentence": "" if error is None else str(error),
        "is_old": content(path) == old,
    }


def main() -> None:
    kind, folder = sys.argv[1], Path(sys.argv[2])
    name, save = globals()[kind]()
    folder.chmod(0o700)
    if kind == "signature":
        shutil.copy(sys.argv[3], folder / "part.pyad")
    path = folder / name
    save(path, 0)
    old = content(path)
    calls = attempt(save, path, 0, 0, onwards=False)["calls"]
    new, kept = content(path), sorted(folder.rglob("*"))
    assert new != old
    modes = [(code, False) for code in CODES]
    if kind in ("engine", "checkpoint", "picture"):  # which sweep up behind a disk that was broken
        modes.append((errno.ENOSPC, True))
    for code, onwards in modes:
        for n in range(1, calls + 1):
            put_back(path, old)
            found = attempt(save, path, n, code, onwards=onwards)
            found["is_new"] = content(path) == new
            found["left"] = [str(file) for file in sorted(folder.rglob("*")) if file not in kept]
            # Once more, on a disk that works again. A key that is there is not made again.
            if not (kind == "keys" and found["is_new"]):
                attempt(save, path, 0, 0, onwards=False)
            found["mended"] = content(path) == new
            found["swept"] = sorted(folder.rglob("*")) == kept
            print(json.dumps(found))


if __name__ == "__main__":
    main()
