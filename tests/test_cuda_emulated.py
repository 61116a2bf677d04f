"""The tests marked ``cuda`` without a GPU: bindings, faces and block programs, run on the host."""

from __future__ import annotations

import fcntl
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("pybind11") is None, reason="the extra [dev] is not installed"
)
def test_cuda_kernels_pass_their_tests_on_the_host(tmp_path: Path) -> None:
    out = tmp_path / "emulated.json"
    command = [
        sys.executable,
        str(ROOT / "benchmarks" / "gpu.py"),
        "--emulated",
        "--json",
        str(out),
    ]
    (ROOT / "build").mkdir(exist_ok=True)
    with (ROOT / "build" / "cuda-emulated.lock").open("w") as lock:  # one build at a time
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    tests = json.loads(out.read_text())["steps"][1]
    assert tests["name"] == "tests"
    assert tests["failed"] == 0
    assert tests["passed"] > 40
