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
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import gpu_build
from gpu_build import ROOT, Done

TOOLS = ("racecheck", "initcheck", "memcheck", "synccheck")  # the slowest first
GROUPS = 2  # processes per tool: an interpreter under the sanitizer is slow to start
# Their own kernels are not ours to check, and slow tests would take the whole time.
SANITIZED = ("-m", "cuda and not slow", "-k", "not torch and not cupy")
UNSANITIZED = ("torch", "device", "frames")  # in names of files; networks run in these

# Packages that a test may need beyond those that are demanded of every machine.
OPTIONAL = ("cupy", "hypothesis", "onnx", "scipy", "sklearn", "torch", *gpu_build.RUNTIME)
# A kernel that cmake/emulated_cuda.cmake has left out.
NOT_EMULATED = "module 'pyad_edge._cuda' has no attribute"

Run = Callable[..., Done]


class StepError(Exception):
    """A step did not pass; the message says why.

    Attributes:
        output: what the command printed last.
        details: what the step found before it failed, for its entry in the JSON.
    """

    def __init__(self, why: str, output: str = "", details: dict[str, Any] | None = None) -> None:
        super().__init__(why)
        self.output = last_lines(output)
        self.details = details or {}


def last_lines(output: str) -> str:
    """The end of what a command printed."""
    return "\n".join(output.splitlines()[-40:])


@dataclass
class Work:
    """What the steps share.

    Attributes:
        folder: where everything is built.
        run: runs a command, as gpu_build.run.
        emulated: block programs on the host instead of a GPU.
        deadline: time.monotonic() at which everything has to be over.
        seconds: of the tests of each file, by its name, once they have run.
    """

    folder: Path
    run: Run
    emulated: bool
    deadline: float
    seconds: dict[str, float] = field(default_factory=dict)

    def left(self, limit: float) -> float:
        """Seconds that a command may take: its limit, or what is left of everything."""
        return max(1.0, min(limit, self.deadline - time.monotonic()))

    def command(
        self, command: Sequence[str], limit: float, environment: Mapping[str, str] | None = None
    ) -> Done:
        """Run a command with the package that was built; fail if it fails or is stopped."""
        done = self.start(command, limit, environment)
        refuse_failure(" ".join(Path(word).name for word in command[:3])[:48], done)
        return done

    def start(
        self, command: Sequence[str], limit: float, environment: Mapping[str, str] | None = None
    ) -> Done:
        """Run a command with the package that was built, whatever comes of it."""
        away = self.folder / "work"  # in the source tree, its folder pyad_edge/ would be imported
        away.mkdir(parents=True, exist_ok=True)
        # Packages that the caller brought along stay behind what was built.
        brought = filter(None, [str(self.folder / "python"), os.environ.get("PYTHONPATH")])
        paths = {"PYTHONPATH": os.pathsep.join(brought), "PATH": search_path()}
        return self.run(command, self.left(limit), {**paths, **(environment or {})}, away)


def refuse_failure(name: str, done: Done, details: dict[str, Any] | None = None) -> None:
    """Fail if a command failed or was stopped."""
    if done.code is None:
        raise StepError(f"{name} was stopped after {done.seconds:.0f} s", done.output, details)
    if done.code != 0:
        raise StepError(f"{name} ended with code {done.code}", done.output, details)


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


def workers() -> int:
    """How many processes share the device."""
    return max(1, min(8, (os.cpu_count() or 2) // 2))


def tests(work: Work, limit: float) -> dict[str, Any]:
    """Run every test marked ``cuda``, each file by itself; emulated, in both orders of threads.

    After an illegal address every call of the process fails: other files are to be judged still.
    """
    start = time.monotonic()
    found: dict[str, Any] = {}

    def check(path: Path, order: str) -> dict[str, Any]:
        report = work.folder / f"tests.{path.stem}.xml"
        report.unlink(missing_ok=True)
        command = pytest(work, "-m", "cuda", f"--junitxml={report}", str(path))
        done = work.start(
            command, limit - (time.monotonic() - start), {"PYAD_EMULATED_ORDER": order}
        )
        row = counts(report, emulated=work.emulated)
        row |= {"file": path.name, "output": last_lines(done.output)}
        work.seconds[path.name] = done.seconds
        # 5: nothing was selected, or the file skipped itself.
        explained = done.code in (0, 5) or row["failed"] or row["left_out"]
        row["ended"] = row["ended"] and done.code is not None and bool(explained)
        if not row["ended"]:
            how = "was stopped" if done.code is None else f"ended with code {done.code}"
            row["failures"].append({"test": path.name, "why": f"pytest {how}"})
        return row

    for order in ("ascending", "descending") if work.emulated else ("",):
        with ThreadPoolExecutor(workers()) as pool:
            rows = list(pool.map(partial(check, order=order), test_files()))
        found = {
            "passed": sum(row["passed"] for row in rows),
            "failed": sum(row["failed"] for row in rows),
            "skipped": dict(sum((row["skipped"] for row in rows), Counter())),
            "left_out": {key: why for row in rows for key, why in row["left_out"].items()},
            "failures": [failure for row in rows for failure in row["failures"]],
        }
        bad = [row for row in rows if row["failures"]]
        output = bad[0]["output"] if bad else ""
        if unended := [row["file"] for row in rows if not row["ended"]]:
            raise StepError(
                f"the tests did not end by themselves: {', '.join(unended)}", output, found
            )
        if bad or found["passed"] == 0:
            raise StepError(
                f"{found['failed']} tests marked cuda failed, {found['passed']} passed",
                output,
                found,
            )
        if not work.emulated and any("no CUDA device" in reason for reason in found["skipped"]):
            raise StepError("tests were skipped for want of a device", output, found)
    return found


def counts(report: Path, *, emulated: bool) -> dict[str, Any]:
    """What a report of pytest says; ``ended`` is whether there is one that can be read."""
    passed, left_out = 0, {}
    failures: list[dict[str, str]] = []
    reasons: Counter[str] = Counter()
    try:
        cases = list(ElementTree.parse(report).iter("testcase"))
        ended = True
    except (OSError, ElementTree.ParseError):
        cases, ended = [], False
    for case in cases:
        error, skip, failure = (case.find(word) for word in ("error", "skipped", "failure"))
        bad = error if error is not None else failure
        if error is not None and (absent := absent_package(error.text or "")):
            left_out[case.get("name", "")] = f"{absent} is not installed"
        elif emulated and failure is not None and NOT_EMULATED in (failure.text or ""):
            left_out[case.get("name", "")] = "its launcher uses the CUDA runtime itself"
        elif bad is not None:
            told = bad.get("message") or bad.text or ""
            why = next(filter(None, map(str.strip, told.splitlines())), "no message")
            test = f"{case.get('classname', '')}::{case.get('name', '')}"
            failures.append({"test": test, "why": why})
        elif skip is not None:
            reasons[skip.get("message", "")] += 1
        else:
            passed += 1
    return {
        "ended": ended,
        "passed": passed,
        "failed": len(failures),
        "skipped": reasons,
        "left_out": left_out,
        "failures": failures,
    }


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


def sanitized_files() -> list[Path]:
    """Test files for compute-sanitizer: those of the kernels, without torch's and whole frames'."""
    return [path for path in test_files() if not any(word in path.name for word in UNSANITIZED)]


def groups(files: Sequence[Path], seconds: Mapping[str, float], count: int) -> list[list[Path]]:
    """Spread files over at most ``count`` groups that take about as long; the longest first."""
    taken: list[tuple[float, int]] = [(0.0, index) for index in range(min(count, len(files)))]
    made: list[list[Path]] = [[] for _ in taken]
    for path in sorted(files, key=lambda path: -seconds.get(path.name, 1.0)):
        time_so_far, index = min(taken)
        made[index].append(path)
        taken[index] = (time_so_far + seconds.get(path.name, 1.0), index)
    return [made[index] for _, index in sorted(taken, reverse=True)]


def sanitizer(work: Work, limit: float) -> dict[str, Any]:
    """Run every tool of compute-sanitizer over the kernel tests, in a few processes each."""
    program = sanitizer_path()
    if program is None:
        raise StepError("compute-sanitizer was found neither on PATH nor beside nvcc")
    start = time.monotonic()

    def check(tool: str, paths: list[Path]) -> dict[str, Any]:
        report = work.folder / f"{tool}.{paths[0].stem}.xml"
        report.unlink(missing_ok=True)
        command = [program, "--tool", tool, "--target-processes", "all"]
        # -vv, which -q halves: where one is stopped or dies, the last line names the test.
        command += pytest(work, "-vv", *SANITIZED, "--continue-on-collection-errors")
        command += [f"--junitxml={report}", *map(str, paths)]
        done = work.start(command, limit - (time.monotonic() - start))
        found = findings(done.output)
        result = counts(report, emulated=False)
        row = {
            "tool": tool,
            "files": [path.name for path in paths],
            "findings": found,
            "seconds": round(done.seconds, 1),
            "passed": result["passed"],
            "failures": result["failures"],
        }
        row["ok"] = (
            result["ended"]
            and not result["failures"]
            # 5: nothing was selected; other codes come of files that could not be read.
            and (done.code in (0, 5) or (done.code is not None and bool(result["left_out"])))
            and (found == 0 or (found is None and not result["passed"]))
        )
        if not row["ok"]:
            stopped = "stopped at the time limit\n" if done.code is None else ""
            row["output"] = stopped + last_lines(done.output)
        return row

    parts = groups(sanitized_files(), work.seconds, GROUPS)
    jobs = [(tool, paths) for paths in parts for tool in TOOLS]
    with ThreadPoolExecutor(workers()) as pool:
        rows = list(pool.map(lambda job: check(*job), jobs))
    bad = [row for row in rows if not row["ok"]]
    if bad:
        which = ", ".join(
            f"{row['tool']} of {', '.join(row['files'])} ({row['findings']})" for row in bad
        )
        raise StepError(f"findings, or no result: {which}", bad[0]["output"], {"runs": rows})
    return {"findings": 0, "runs": rows}


def frames(work: Work, limit: float) -> dict[str, Any]:
    """Time whole frames on the device, from uint8 on the host to a decision there."""
    needed = [name for name in ("torch", "onnx") if find_spec(name) is None]
    if absent := needed + gpu_build.missing_packages():
        why = f"{', '.join(absent)} not installed"
        return {"left_out": {"whole frames on the device": why}}
    out = work.folder / "frames.json"
    out.unlink(missing_ok=True)
    script = ROOT / "benchmarks" / "gpu_frames.py"
    done = work.start([sys.executable, str(script), "--json", str(out)], limit)
    found: dict[str, Any] = {"result": json.loads(out.read_text())} if out.is_file() else {}
    refuse_failure("gpu_frames.py", done, found)
    if not found.get("result", {}).get("rows"):
        raise StepError("no frame was timed", done.output, found)
    return found


def benchmarks(work: Work, limit: float) -> dict[str, Any]:
    """Time the kernels beside their peers on the device."""
    out = work.folder / "benchmarks.json"
    out.unlink(missing_ok=True)
    script = ROOT / "benchmarks" / "run.py"
    command = [sys.executable, str(script), "--device", "cuda", "--seconds", "1.5"]
    command += ["--json", str(out)]
    done = work.start(command, limit)
    found: dict[str, Any] = {"result": json.loads(out.read_text())} if out.is_file() else {}
    refuse_failure("run.py", done, found)
    if not found.get("result", {}).get("rows"):
        raise StepError("the benchmarks timed nothing", done.output, found)
    return found
