"""What the benchmarks have in common: data, the machine's description, intervals, result files."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyad_edge import ops

RESULTS = Path(__file__).resolve().parent / "results"
PACKAGES = (
    "pyad_edge",
    "numpy",
    "onnxruntime",
    "openvino",
    "torch",
    "torchvision",
    "anomalib",
    "timm",
    "scipy",
    "opencv-python-headless",
    "pillow",
    "faiss-cpu",
    "faiss-gpu-cu12",
    "cupy-cuda12x",
    "cupy-cuda13x",
)


def shared(*parts: str) -> Path:
    """A file or folder of the shared data, found as the tests find it."""
    beside = Path(__file__).resolve().parents[2] / "shared"
    root = Path(os.environ.get("PYAD_EDGE_TEST_DATA") or beside)
    path = root.joinpath(*parts)
    if not path.exists():
        raise SystemExit(
            f"This benchmark needs {'/'.join(parts)} in ../shared, or in the folder that "
            "$PYAD_EDGE_TEST_DATA names."
        )
    return path


def mtd_pictures() -> tuple[list[Path], list[Path], NDArray[np.bool_]]:
    """Pictures to fit, pictures to score, and whether each of these has a defect (MTD)."""
    root = shared("data", "mtd")
    train = sorted((root / "train" / "good").iterdir())
    test = sorted(path for folder in (root / "test").iterdir() for path in folder.iterdir())
    return train, test, np.array([path.parent.name != "good" for path in test])


def machine(threads: int) -> dict[str, Any]:
    """Processor, versions and settings: what a figure means nothing without."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "level": ops.cpu_level(),
        "threads": threads,
        "python": platform.python_version(),
        "versions": versions,
    }


def load() -> float:
    """Processes that wanted a core during the last minute; above the cores' number: shared."""
    return round(os.getloadavg()[0], 1)


def median_interval(values: Sequence[float] | NDArray[np.float64]) -> tuple[float, float, float]:
    """Median and its 95 % bootstrap interval."""
    sample = np.asarray(values, np.float64)
    draws = np.random.default_rng(0).choice(sample, (2000, len(sample)))
    low, high = np.percentile(np.median(draws, axis=1), (2.5, 97.5))
    return float(np.median(sample)), float(low), float(high)


def write_result(name: str, content: dict[str, Any], *, threads: int, out: Path | None) -> Path:
    """Write ``content`` with the machine, command and commit as JSON.

    Args:
        name: of the benchmark.
        content: plain data.
        threads: of every contender.
        out: file; none: in benchmarks/results, under the benchmark's and the machine's name.
    """
    about = machine(threads)
    if out is None:
        host = f"{platform.machine()}-{about['level']}-{about['cores']}cores"
        out = RESULTS / f"{name}.{host}.json"
    script = Path(sys.argv[0]).resolve()
    here = Path(__file__).resolve().parent
    name_of = script.relative_to(here) if script.is_relative_to(here) else Path(script.name)
    command = " ".join(["python", f"benchmarks/{name_of.as_posix()}", *sys.argv[1:]])
    record = {
        "benchmark": name,
        "command": command,
        "commit": commit(),
        "machine": about,
        "load": load(),
        **content,
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(record, indent=1) + "\n")
    print(f"wrote {out.name}")
    return out


def commit() -> str:
    """Abbreviated hash of the checkout, ``-dirty`` where files differ from it."""
    found = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=12"],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    return found.stdout.strip() or "unknown"


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
