"""All that needs a GPU, in one go: build, tests, sanitizer, benchmarks, one JSON.

    python benchmarks/gpu.py               # `make gpu`
    python benchmarks/gpu.py --plan        # what it would run; starts nothing
    python benchmarks/gpu.py --emulated    # the tests without a GPU, block programs on the host

Needs CUDA 12.8 or newer, CMake, a C++ compiler, and a Python 3.10 or newer with NumPy, pytest and
pybind11 (or torch, which carries pybind11's headers). Fetches and installs nothing. Every step has
a time limit; everything ends within nine minutes. Exit code: 0 all passed, 1 a step failed, 2 the
machine lacks something that the last lines name.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import time
import traceback
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import gpu_build
import gpu_device
import gpu_steps
from gpu_build import ROOT
from gpu_steps import Run, StepError, Work

BUILD = ROOT / "build"
TOTAL = 525.0  # seconds; leaves some of the nine minutes to starting and writing
Step = Callable[[Work, float], dict[str, Any]]
# Name, function, longest time in seconds.
STEPS: tuple[tuple[str, Step, float], ...] = (
    ("build", gpu_steps.build, 200.0),
    ("tests", gpu_steps.tests, 120.0),
    ("frames", gpu_steps.frames, 110.0),
    ("sanitizer", gpu_steps.sanitizer, 200.0),
    ("benchmarks", gpu_steps.benchmarks, 150.0),
)
EMULATED = ("build", "tests")
PACKAGES = (
    "numpy",
    "torch",
    "onnx",
    "onnxruntime",
    "tensorrt",
    "cupy-cuda13x",
    "cupy-cuda12x",
    "faiss-gpu",
    "pybind11",
    "pytest",
)


def main(arguments: list[str] | None = None, run: Run = gpu_build.run) -> int:
    """Run the steps; ``run`` runs their commands. Returns the exit code."""
    options = _parser().parse_args(arguments)
    steps = [step for step in STEPS if step[0] in (options.only or [name for name, *_ in STEPS])]
    total = TOTAL
    if options.emulated:  # on any machine, in nobody's hurry
        steps = [(name, step, 5 * limit) for name, step, limit in steps if name in EMULATED]
        total *= 5
    python = f"{sys.version_info[0]}.{sys.version_info[1]}"
    folder = BUILD / f"{'cuda-emulated' if options.emulated else 'gpu'}-{python}"
    work = Work(folder, run, options.emulated, time.monotonic() + total)
    if options.plan:
        return _print_plan(steps, work)
    device, lacking = ({}, []) if options.emulated else find_device(run)
    lacking += missing_tools()
    if lacking:
        print(*lacking, sep="\n", file=sys.stderr)
        return 2
    record: dict[str, Any] = {
        "machine": {**device, **_machine()},
        "commit": options.commit or _commit(),
        "started": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }
    if absent := gpu_build.missing_packages():
        record["missing_packages"] = absent
        print(
            f"Without {', '.join(absent)} only the kernels are built and tested, with an empty "
            "pyad_edge/__init__.py."
        )
    print(", ".join(f"{key} {value}" for key, value in record["machine"].items()))
    complete = not options.emulated and not options.only
    out = options.json or (result_file(record["machine"]["device"]) if complete else None)
    begin = time.monotonic()
    for entries in _run(steps, work):
        record["steps"] = entries
        record["seconds"] = round(time.monotonic() - begin, 1)
        record["ok"] = len(entries) == len(steps) and all(entry["ok"] for entry in entries)
        if out is not None:
            _write(record, out)
    print(f"{'passed' if record['ok'] else 'FAILED'} in {record['seconds']} s", out or "")
    return 0 if record["ok"] else 1


def _write(record: dict[str, Any], out: Path) -> None:
    """Write the JSON; whoever ends the process meanwhile finds the one before."""
    unfinished = out.with_name(f"{out.name}.part")
    unfinished.write_text(json.dumps(record, indent=1) + "\n")
    unfinished.replace(out)


def _run(steps: list[tuple[str, Step, float]], work: Work) -> Iterator[list[dict[str, Any]]]:
    """Run the steps in order, yielding all entries after each; none after a build that failed."""
    results: list[dict[str, Any]] = []
    for name, step, limit in steps:
        entry: dict[str, Any] = {"name": name, "ok": False, "limit_seconds": limit}
        start = time.monotonic()
        print(f"{name} ...", flush=True)
        try:
            if results and results[0]["name"] == "build" and not results[0]["ok"]:
                raise StepError("not run, because the build failed")
            if time.monotonic() >= work.deadline:
                raise StepError("not run, because the time for everything is over")
            entry |= step(work, work.left(limit))
            entry["ok"] = True
            for what, why in entry.get("left_out", {}).items():
                print(f"left out: {what}, {why}")
        except StepError as error:
            entry |= {**error.details, "why": str(error), "output": error.output}
            for failure in error.details.get("failures", ()):
                print(f"{failure['test']}: {failure['why']}")
            print(*filter(None, (error.output, f"{name}: {error}.")), sep="\n")
        except Exception as error:  # whatever it is: the other steps and the JSON are wanted
            told = traceback.format_exc().splitlines()[-20:]
            entry |= {"why": f"{type(error).__name__}: {error}", "output": "\n".join(told)}
            print(*told, sep="\n")
        entry["seconds"] = round(time.monotonic() - start, 1)
        print(f"{name} {'passed' if entry['ok'] else 'FAILED'} in {entry['seconds']} s", flush=True)
        results.append(entry)
        yield results


def find_device(run: Run) -> tuple[dict[str, Any], list[str]]:
    """The first GPU and the CUDA compiler, and sentences about what is missing."""
    device, answer = gpu_device.first_device(run)
    found: dict[str, Any] = {**device}
    lacking = []
    if not device:
        lacking.append(
            "make gpu needs a CUDA device, and neither nvidia-smi nor the driver finds one: "
            f"{answer.strip()[:200] or 'no answer'}. Without one, `make cuda-emulated` runs "
            "the kernels' tests on the host."
        )
    nvcc = gpu_build.nvcc_path()
    output = run([nvcc, "--version"], 30.0).output if nvcc else ""
    release = re.search(r"release (\d+)\.(\d+)", output)
    if release is None:
        lacking.append("make gpu needs CUDA's compiler. Put nvcc on PATH, or set CUDACXX to it.")
    elif (int(release[1]), int(release[2])) < (12, 8):
        lacking.append(f"make gpu needs CUDA 12.8 or newer; {nvcc} is {release[1]}.{release[2]}.")
    else:
        found["cuda"] = f"{release[1]}.{release[2]}"
    return found, lacking


def missing_tools() -> list[str]:
    """Sentences about what the build and the tests lack beside CUDA."""
    lacking = []
    if sys.version_info < (3, 10):  # noqa: UP036 - this script runs before anything is installed
        lacking.append(f"pyad_edge needs Python 3.10 or newer; this is {sys.version.split()[0]}.")
    if shutil.which("cmake", path=gpu_steps.search_path()) is None:
        lacking.append("CMake was not found; the package 'cmake' of pip has it too.")
    if not any(shutil.which(name) for name in ("c++", "g++", "clang++")):
        lacking.append("No C++ compiler was found.")
    if not (Path(sysconfig.get_path("include")) / "Python.h").is_file():
        lacking.append("Python's headers were not found; Debian has them in python3-dev.")
    if gpu_build.pybind11_options() is None:
        lacking.append("Neither pybind11 nor torch, which carries its headers, is installed.")
    for name in ("numpy", "pytest"):
        if importlib.util.find_spec(name) is None:
            lacking.append(f"The Python package {name} is not installed.")
    return lacking


def result_file(device: str) -> Path:
    """Where the JSON of a device goes."""
    slug = re.sub(r"[^a-z0-9]+", "-", device.lower()).strip("-")
    return ROOT / "benchmarks" / "results" / f"gpu.{slug}.json"


def _machine() -> dict[str, Any]:
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return {
        "processor": platform.processor() or platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "versions": versions,
    }


def _commit() -> str:
    def git(*words: str) -> str:
        try:
            done = subprocess.run(
                ["git", *words], cwd=ROOT, capture_output=True, text=True, check=False
            )
        except OSError:
            return ""
        return done.stdout.strip() if done.returncode == 0 else ""

    commit = git("rev-parse", "HEAD")
    changed = git("status", "--porcelain", "--untracked-files=no")
    return (commit + (" and changes" if changed else "")) or "unknown: no repository here"


def _print_plan(steps: list[tuple[str, Step, float]], work: Work) -> int:
    print(f"at most {work.deadline - time.monotonic():.0f} s in all, under {work.folder}")
    for name, _, limit in steps:
        print(f"{name}: at most {limit:.0f} s")
        if name == "build":
            for command in gpu_build.commands(work.folder, emulated=work.emulated):
                print("   ", *command)
        elif name in ("benchmarks", "frames"):
            script = "run.py --device cuda" if name == "benchmarks" else "gpu_frames.py"
            print(f"    python benchmarks/{script} --json", work.folder / f"{name}.json")
        else:
            sanitized = name == "sanitizer"
            files = gpu_steps.sanitized_files() if sanitized else gpu_steps.test_files()
            names = [str(path.relative_to(ROOT)) for path in files]
            for tool in gpu_steps.TOOLS if sanitized else ():
                print("   ", f"{tool}: pytest", *gpu_steps.SANITIZED, *names)
            for file in () if sanitized else names:
                print("    pytest -m cuda", file)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--plan", action="store_true", help="print the steps and start nothing")
    parser.add_argument("--emulated", action="store_true", help="build and tests without a GPU")
    parser.add_argument("--only", nargs="+", choices=[name for name, *_ in STEPS])
    parser.add_argument("--json", type=Path, help="where the result goes")
    parser.add_argument("--commit", help="of the sources, where they are no repository")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
