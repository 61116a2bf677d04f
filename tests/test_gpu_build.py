"""What benchmarks/gpu.py builds, and how it runs commands: no GPU is needed."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import time
from pathlib import Path

import gpu_build
import pytest


def test_a_command_is_stopped_at_its_limit() -> None:
    start = time.monotonic()
    done = gpu_build.run([sys.executable, "-c", "print('on', flush=True); input.wait"], 20.0)
    assert done.code == 1
    assert done.output.startswith("on\n")
    # What it started itself is stopped too, or its output would be waited for.
    assert gpu_build.run(["sh", "-c", "sleep 60 & sleep 60"], 0.5).code is None
    assert gpu_build.run(["no-such-program"], 1.0).code == 127
    assert time.monotonic() - start < 30


def test_a_build_of_a_tree_elsewhere_is_discarded(tmp_path: Path) -> None:
    cache = tmp_path / "build" / "CMakeCache.txt"
    cache.parent.mkdir()
    cache.write_text(f"CMAKE_HOME_DIRECTORY:INTERNAL={gpu_build.ROOT}\n")
    gpu_build.discard_foreign(cache.parent)
    assert cache.is_file()
    cache.write_text("CMAKE_HOME_DIRECTORY:INTERNAL=/elsewhere\n")
    gpu_build.discard_foreign(cache.parent)
    assert not cache.parent.exists()


def test_the_kernels_are_imported_with_numpy_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    native = importlib.util.find_spec("pyad_edge._native")
    assert native is not None
    assert native.origin is not None
    (tmp_path / Path(native.origin).name).symlink_to(native.origin)
    monkeypatch.setattr(gpu_build, "missing_packages", lambda: ["pydantic"])
    python = gpu_build.stage(tmp_path)
    code = f"""
import sys
for name in {[*gpu_build.RUNTIME, "torch", "pytest"]!r}:
    if name != "numpy":
        sys.modules[name] = None  # importing it raises ImportError
import pyad_edge, pyad_edge.ops.cuda, pyad_edge.reference
from pyad_edge import ops
import numpy as np
assert ops.anomaly_map(np.ones((1, 2, 2), np.float32), size=(4, 4))[0].shape == (1, 4, 4)
print(pyad_edge.__file__)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": str(python)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()) == python / "pyad_edge" / "__init__.py"
