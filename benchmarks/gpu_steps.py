"""The steps of gpu.py: what each runs, and how its output is judged."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import time
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import gpu_build
from gpu_build import ROOT, Done

TOOLS = ("memcheck", "racecheck", "initcheck", "synccheck")
# Their own kernels are not ours to check, and slow tests would take the whole time.
SANITIZED = ("-m", "cuda and not slow", "-k", "not torch and not cupy")

# Packages that a test may need beyond those that are demanded of every machine.
OPTIONAL = ("cupy", "hypothesis", "onnx", "scipy", "sklearn", "torch", *gpu_build.RUNTIME)
# A kernel that cmake/emulated_cuda.cmake has left out.
NOT_EMULATED = "module 'pyad_edge._cuda' has no attribute"

Run = Callable[..., Done]


class StepError(Exception):
    """A step did not pass; the message says why, ``output`` is what the command printed last."""

    def __init__(self, why: str, output: str = "") -> None:
        super().__init__(why)
        self.output = "\n".join(output.splitlines()[-40:])


@dataclass
class Work:
    """What the steps share.

    Attributes:
        folder: where everything is built.
        run: runs a command, as gpu_build.run.
        emulated: block programs on the host instead of a GPU.
        deadline: time.monotonic() at which everything has to be over.
    """

    folder: Path
    run: Run
    emulated: bool
    deadline: float

    def left(self, limit: float) -> float:
        """Seconds that a command may take: its limit, or what is left of everything."""
        return max(1.0, min(limit, self.deadline - time.monotonic()))

    def command(
        self, command: Sequence[str], limit: float, environment: Mapping[str, str] | None = None
    ) -> Done:
        """Run a command with the package that was built; fail if it fails or is stopped."""
        done = self.start(command, limit, environment)
        name = " ".join(Path(word).name for word in command[:3])[:48]
        if done.code is None:
            raise StepError(f"{name} was stopped after {done.seconds:.0f} s", done.output)
        if done.code != 0:
            raise StepError(f"{name} ended with code {done.code}", done.output)
        return done

    def start(
        self, command: Sequence[str], limit: float, environment: Mapping[str, str] | None = None
    ) -> Done:
        """Run a command with the package that was built, whatever comes of it."""
        away = self.folder / "work"  # in the source tree, its folder pyad_edge/ would be imported
        away.mkdir(parents=True, exist_ok=True)
        paths = {"PYTHONPATH": str(self.folder / "python"), "PATH": search_path()}
        return self.run(command, self.left(limit), {**paths, **(environment or {})}, away)


def search_path() -> str:
    """PATH with this Python's scripts, where pip puts cmake and ninja."""
    return str(Path(sys.executable).parent) + os.pathsep + os.environ.get("PATH", "")


def build(work: Work, limit: float) -> dict[str, Any]:
    """Compile both modules, link the package together, import it."""
    start = time.monotonic()
    architectures = None
    gpu_build.discard_foreign(work.folder)
    for command in gpu_build.commands(work.folder, emulated=work.emulated):
        done = work.command(command, limit - (time.monotonic() - start))
        found = re.search(r"building the CUDA module with .* for (\S+)", done.output)
        architectures = found[1] if found else architectures
    gpu_build.stage(work.folder)
    code = "from pyad_edge.ops import cuda; print(cuda.why_unavailable() or 'devices')"
    done = work.command([sys.executable, "-c", code], 60.0)
    if done.output.strip().splitlines()[-1:] != ["devices"]:
        raise StepError("the module that was built finds no device", done.output)
    return {"architectures": architectures}


def test_files() -> list[Path]:
    """Test files that have tests marked ``cuda``."""
    files = sorted((ROOT / "tests").rglob("test_*.py"))
    return [path for path in files if "pytest.mark.cuda" in path.read_text()]


def absent_package(output: str) -> str | None:
    """The package for whose want a file of tests was not read, if this Python lacks it."""
    named = re.search(r"No module named '(\w+)", output)
    lacks = named and named[1] in OPTIONAL and find_spec(named[1]) is None
    return named[1] if named and lacks else None


def pytest(work: Work, *options: str) -> list[str]:
    """How pytest is called. Warnings of other packages' versions are no failures here."""
    command = [sys.executable, "-m", "pytest", "-c", str(ROOT / "pyproject.toml"), "-q"]
    command += ["-p", "no:cacheprovider", "-W", "default"]
    if gpu_build.missing_packages() or work.emulated:
        command.append("--noconftest")  # its fixtures make engines
    return [*command, *options]


def tests(work: Work, limit: float) -> dict[str, Any]:
    """Run every test marked ``cuda``; emulated, in both orders of threads."""
    start = time.monotonic()
    found: dict[str, Any] = {}
    for order in ("ascending", "descending") if work.emulated else ("",):
        report = work.folder / "tests.xml"
        report.unlink(missing_ok=True)
        files = map(str, test_files())
        command = pytest(work, "-m", "cuda", "--continue-on-collection-errors")
        command += [f"--junitxml={report}", *files]
        done = work.start(
            command, limit - (time.monotonic() - start), {"PYAD_EMULATED_ORDER": order}
        )
        if done.code is None or not report.is_file():
            raise StepError(f"the tests did not end by themselves (code {done.code})", done.output)
        found = _counts(report, emulated=work.emulated)
        if found["failed"] or found["passed"] == 0 or (done.code and not found["left_out"]):
            raise StepError(
                f"{found['failed']} tests marked cuda failed, {found['passed']} passed", done.output
            )
        if not work.emulated and any("no CUDA device" in reason for reason in found["skipped"]):
            raise StepError("tests were skipped for want of a device", done.output)
    return found


def _counts(report: Path, *, emulated: bool) -> dict[str, Any]:
    passed, failed, left_out = 0, 0, {}
    reasons: Counter[str] = Counter()
    for case in ElementTree.parse(report).iter("testcase"):
        error, skip, failure = (case.find(word) for word in ("error", "skipped", "failure"))
        if error is not None and (absent := absent_package(error.text or "")):
            left_out[case.get("name", "")] = f"{absent} is not installed"
        elif emulated and failure is not None and NOT_EMULATED in (failure.text or ""):
            left_out[case.get("name", "")] = "its launcher uses the CUDA runtime itself"
        elif error is not None or failure is not None:
            failed += 1
        elif skip is not None:
            reasons[skip.get("message", "")] += 1
        else:
            passed += 1
    return {"passed": passed, "failed": failed, "skipped": dict(reasons), "left_out": left_out}


def sanitizer_path() -> str | None:
    """compute-sanitizer, on PATH or beside nvcc."""
    nvcc = gpu_build.nvcc_path()
    beside = Path(nvcc).resolve().parent / "compute-sanitizer" if nvcc else None
    usual = Path("/usr/local/cuda/bin/compute-sanitizer")
    for path in (shutil.which("compute-sanitizer"), beside, usual):
        if path is not None and Path(path).is_file():
            return str(path)
    return None


def findings(output: str) -> int | None:
    """Errors and hazards that compute-sanitizer counted; None if it printed no summary."""
    counts = re.findall(r"ERROR SUMMARY: (\d+) error", output)
    counts += re.findall(r"RACECHECK SUMMARY: (\d+) hazard", output)
    return sum(map(int, counts)) if counts else None


def sanitizer(work: Work, limit: float) -> dict[str, Any]:
    """Run every tool of compute-sanitizer over each file of kernel tests, several at a time."""
    program = sanitizer_path()
    if program is None:
        raise StepError("compute-sanitizer was found neither on PATH nor beside nvcc")
    start = time.monotonic()

    def check(tool: str, path: Path) -> dict[str, Any]:
        command = [program, "--tool", tool, "--target-processes", "all"]
        command += pytest(work, *SANITIZED, str(path))
        done = work.start(command, limit - (time.monotonic() - start))
        found = findings(done.output)
        row = {
            "tool": tool,
            "file": path.name,
            "findings": found,
            "seconds": round(done.seconds, 1),
        }
        # pytest ends with 5 where nothing was selected, with 2 where a file cannot be imported.
        unread = done.code == 2 and absent_package(done.output) is not None
        no_tests = (done.code == 5 or unread) and found in (0, None)
        row["ok"] = no_tests or (done.code == 0 and found == 0)
        if not row["ok"]:
            stopped = "stopped at the time limit\n" if done.code is None else ""
            row["output"] = stopped + "\n".join(done.output.splitlines()[-40:])
        return row

    jobs = [(tool, path) for path in test_files() for tool in TOOLS]
    with ThreadPoolExecutor(max(1, min(8, (os.cpu_count() or 2) // 2))) as pool:
        rows = list(pool.map(lambda job: check(*job), jobs))
    bad = [row for row in rows if not row["ok"]]
    if bad:
        which = ", ".join(f"{row['tool']} of {row['file']} ({row['findings']})" for row in bad)
        raise StepError(f"findings, or no result: {which}", bad[0]["output"])
    return {"findings": 0, "runs": rows}


def benchmarks(work: Work, limit: float) -> dict[str, Any]:
    """Time the kernels beside their peers on the device."""
    out = work.folder / "benchmarks.json"
    out.unlink(missing_ok=True)
    script = ROOT / "benchmarks" / "run.py"
    command = [sys.executable, str(script), "--device", "cuda", "--seconds", "1.5"]
    command += ["--json", str(out)]
    done = work.command(command, limit)
    content = json.loads(out.read_text()) if out.is_file() else {}
    if not content.get("rows"):
        raise StepError("the benchmarks timed nothing", done.output)
    return {"result": content}
