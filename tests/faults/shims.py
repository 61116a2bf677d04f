"""Libraries that let a process's disk or memory fail, built and preloaded."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
COMPILER = shutil.which("cc") or shutil.which("gcc")

needs_shims = pytest.mark.skipif(
    not sys.platform.startswith("linux") or COMPILER is None, reason="needs Linux and a C compiler"
)


def run_with(shim: str, script: str, *arguments: object, folder: Path) -> list[dict[str, Any]]:
    """Run a script of this folder with a shim preloaded; what it says, a JSON object per line."""
    library = folder / f"{shim}.so"
    source = HERE / f"{shim}.c"
    build = [str(COMPILER), "-O1", "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"]
    subprocess.run(build, check=True, capture_output=True)
    done = subprocess.run(
        [sys.executable, str(HERE / script), *map(str, arguments)],
        env=os.environ
        | {
            "LD_PRELOAD": str(library),
            "PYTHONPATH": str(HERE.parent),
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(line) for line in done.stdout.splitlines()]
