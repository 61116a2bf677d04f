"""benchmarks/gpu.py with commands that are made up: no GPU, no compiler and no build is needed."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import gpu
import gpu_build
import gpu_device
import gpu_steps
import pytest
from gpu_build import Done

NO_ERRORS = "========= ERROR SUMMARY: 0 errors\n"
STEPS = ("build", "tests", "frames", "sanitizer", "benchmarks")
CASES = '<testsuite><testcase name="a"/><testcase name="b">{}</testcase></testsuite>'


class Machine:
    """Answers commands as a machine with a GPU would; ``answers`` overrides some by a word."""

    def __init__(self, **answers: Done) -> None:
        self.answers = answers
        self.commands: list[list[str]] = []
        self.skipped = ""

    def __call__(
        self,
        command: Sequence[str],
        limit: float,
        environment: Mapping[str, str] | None = None,
        cwd: Path = gpu_build.ROOT,
    ) -> Done:
        assert limit > 0
        words = [Path(command[0]).name, *command[1:]]
        self.commands.append(words)
        line = " ".join(words)
        for word, answer in self.answers.items():
            if word in line.replace("-", "_"):
                return answer
        return Done(0, self.output(words, line), 0.1)

    def output(self, words: list[str], line: str) -> str:
        if words[0] == "nvidia-smi":
            return "NVIDIA H200, 9.0, 580.65.06, 143771 MiB\n"
        if "--version" in words:
            return "Cuda compilation tools, release 13.0, V13.0.88\n"
        for word in words:
            if word.startswith("--junitxml="):
                Path(word.removeprefix("--junitxml=")).write_text(CASES.format(self.skipped))
        if words[0] == "compute-sanitizer":
            return NO_ERRORS
        if "-S" in words:
            return "-- pyad_edge: building the CUDA module with nvcc 13.0.88 for 90-real\n"
        if "why_unavailable" in line:
            return "devices\n"
        if any(Path(word).name == "gpu_frames.py" for word in words):
            row = {"case": "resnet18", "p99_ms": 0.5, "goal_met": True}
            Path(words[-1]).write_text(json.dumps({"rows": [row]}))
        if "--device" in words:
            Path(words[-1]).write_text(json.dumps({"rows": [{"kernel": "preprocess", "ms": 1}]}))
        return ""


@pytest.fixture(autouse=True)
def _apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Build under a temporary folder, whatever this machine has installed."""
    monkeypatch.setattr(gpu, "BUILD", tmp_path / "build")
    monkeypatch.setattr(gpu, "missing_tools", list)
    monkeypatch.setattr(gpu_build, "nvcc_path", lambda: "nvcc")
    monkeypatch.setattr(gpu_device, "of_the_driver", lambda load: {})
    monkeypatch.setattr(gpu_steps, "sanitizer_path", lambda: "compute-sanitizer")


def go(tmp_path: Path, machine: Machine, *options: str) -> tuple[int, dict[str, object]]:
    out = tmp_path / "gpu.json"
    code = gpu.main(["--json", str(out), "--commit", "abc", *options], machine)
    return code, json.loads(out.read_text()) if out.exists() else {}


def steps(record: dict[str, object]) -> dict[str, bool]:
    entries = record["steps"]
    assert isinstance(entries, list)
    return {step["name"]: step["ok"] for step in entries}


def test_all_steps_pass_and_are_written(tmp_path: Path) -> None:
    machine = Machine()
    code, record = go(tmp_path, machine)
    assert code == 0
    assert record["ok"] is True
    assert record["commit"] == "abc"
    assert steps(record) == dict.fromkeys(STEPS, True)
    found = record["machine"]
    assert isinstance(found, dict)
    assert found["device"] == "NVIDIA H200"
    assert (found["driver"], found["cuda"]) == ("580.65.06", "13.0")
    build, tests, frames, _, benchmarks = record["steps"]  # type: ignore[misc]
    assert frames["result"]["rows"][0]["goal_met"] is True
    assert build["architectures"] == "90-real"
    files = gpu_steps.test_files()
    assert len(files) > 3
    assert (tests["passed"], tests["failed"]) == (2 * len(files), 0)
    assert benchmarks["result"]["rows"][0]["kernel"] == "preprocess"
    sanitized = [line for line in machine.commands if line[0] == "compute-sanitizer"]
    assert len(sanitized) == 4 * gpu_steps.GROUPS
    for tool in gpu_steps.TOOLS:
        words = [word for line in sanitized if tool in line for word in line]
        tested = sorted(Path(word).name for word in words if word.endswith(".py"))
        assert tested == sorted(path.name for path in gpu_steps.sanitized_files())
        assert "test_cuda_nearest_neighbors.py" in tested
        assert not [name for name in tested if "torch" in name or "frames" in name]


@pytest.mark.parametrize(
    ("answers", "failed", "words"),
    [
        ({"memcheck": Done(0, "ERROR SUMMARY: 2 errors", 1.0)}, {"sanitizer"}, "memcheck of"),
        ({"racecheck": Done(1, "crashed", 1.0)}, {"sanitizer"}, "no result"),
        ({"initcheck": Done(None, NO_ERRORS, 9.0)}, {"sanitizer"}, "initcheck of"),
        ({"synccheck": Done(1, NO_ERRORS, 9.0)}, {"sanitizer"}, "synccheck of"),
        ({"__device": Done(1, "wrong kernel", 1.0)}, {"benchmarks"}, "code 1"),
        ({"__device": Done(0, "", 1.0)}, {"benchmarks"}, "timed nothing"),
        ({"/gpu_frames": Done(1, "differs", 1.0)}, {"frames"}, "gpu_frames.py ended with code 1"),
        ({"/gpu_frames": Done(0, "", 1.0)}, {"frames"}, "no frame was timed"),
        ({"_m cuda __junitxml": Done(None, "", 9.0)}, {"tests"}, "did not end"),
        ({"_m cuda __junitxml": Done(139, "", 9.0)}, {"tests"}, "pytest ended with code 139"),
        ({"why_un": Done(0, "[cuda] no CUDA device", 1.0)}, None, "finds no device"),
        ({"__build": Done(None, "nvcc ...", 9.0)}, None, "was stopped after 9 s"),
        ({"_DPYAD": Done(1, "no nvcc", 1.0)}, None, "code 1"),
    ],
)
def test_a_step_that_fails_is_told(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    answers: dict[str, Done],
    failed: set[str] | None,
    words: str,
) -> None:
    code, record = go(tmp_path, Machine(**answers))
    assert code == 1
    assert record["ok"] is False
    results = steps(record)
    # After a build that failed, nothing else is run.
    assert {name for name, ok in results.items() if not ok} == (failed or set(results))
    assert words in str(record["steps"])
    assert words in capsys.readouterr().out


def test_what_was_found_before_a_failure_is_kept(tmp_path: Path) -> None:
    class Failing(Machine):
        def output(self, words: list[str], line: str) -> str:
            told = super().output(words, line)
            (tmp_path / "seen.json").write_text((tmp_path / "gpu.json").read_text())
            return told if "racecheck" not in line else "RACECHECK SUMMARY: 3 hazards"

        def __call__(self, command: Sequence[str], *others: Any) -> Done:
            done = super().__call__(command, *others)
            wrong = Done(1, "anomaly_map: a wrong kernel is not timed.", 1.0)
            return wrong if "--device" in command else done

    (tmp_path / "gpu.json").write_text("{}")
    machine = Failing()
    machine.skipped = '<failure message="assert 1 == 2&#10;more">far more</failure>'
    code, record = go(tmp_path, machine)
    assert code == 1
    assert steps(record) == dict.fromkeys(STEPS, False) | {"build": True, "frames": True}
    _, tests, _, sanitizer, benchmarks = record["steps"]  # type: ignore[misc]
    assert tests["failures"][0] == {"test": "::b", "why": "assert 1 == 2"}
    assert tests["passed"] == tests["failed"] == len(gpu_steps.test_files())
    found = {row["tool"]: row["findings"] for row in sanitizer["runs"]}
    assert found == {"racecheck": 3, "initcheck": 0, "memcheck": 0, "synccheck": 0}
    assert benchmarks["result"]["rows"][0]["kernel"] == "preprocess"
    assert benchmarks["why"] == "run.py ended with code 1"
    # Whatever ends gpu.py: the steps before are in the file.
    before = json.loads((tmp_path / "seen.json").read_text())
    assert [step["name"] for step in before["steps"]] == list(STEPS[:-1])
    assert before["ok"] is False


def test_an_error_of_the_script_itself_ends_one_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(output: str) -> int:
        raise OSError("no space left on device")

    monkeypatch.setattr(gpu_steps, "findings", refuse)
    code, record = go(tmp_path, Machine())
    assert code == 1
    assert steps(record) == dict.fromkeys(STEPS, True) | {"sanitizer": False}
    sanitizer = record["steps"][3]  # type: ignore[index]
    assert sanitizer["why"] == "OSError: no space left on device"
    assert "in refuse" in sanitizer["output"]


def test_files_are_spread_over_groups_that_take_about_as_long() -> None:
    files = [Path(name) for name in "abcde"]
    seconds = {"a": 1.0, "b": 9.0, "c": 4.0, "d": 4.0}
    made = gpu_steps.groups(files, seconds, 2)
    assert [[path.name for path in group] for group in made] == [["b", "e"], ["c", "d", "a"]]
    assert gpu_steps.groups(files[:1], {}, 2) == [files[:1]]


class Driver:
    """libcuda of a Jetson; ``code`` is what each call returns."""

    def __init__(self, code: int = 0) -> None:
        self.code = code

    def __getattr__(self, name: str) -> Callable[..., int]:
        def call(*given: Any) -> int:
            if name == "cuDeviceGetName":
                given[0].value = b"Orin"
            elif name == "cuDeviceGetAttribute":
                given[0]._obj.value = {75: 8, 76: 7}[given[1]]
            elif name == "cuDriverGetVersion":
                given[0]._obj.value = 12080
            elif name == "cuDeviceTotalMem_v2":
                given[0]._obj.value = 30 << 30
            return self.code

        return call


@pytest.mark.parametrize(
    "answer", [Done(2, "compute_cap is not valid", 0.1), Done(0, "Orin (nvgpu), [N/A], 540, 1", 0)]
)
def test_where_nvidia_smi_knows_too_little_the_driver_is_asked(
    monkeypatch: pytest.MonkeyPatch, answer: Done
) -> None:
    monkeypatch.undo()
    machine = Machine(nvidia_smi=answer)
    found, said = gpu_device.first_device(machine, lambda name: Driver())
    assert found == {
        "device": "Orin",
        "compute_capability": "8.7",
        "driver": "for CUDA 12.8",
        "memory": "30720 MiB",
    }
    assert said == answer.output
    assert gpu_device.first_device(machine, lambda name: Driver(100))[0] == {}

    def missing(name: str) -> Driver:
        raise OSError(name)

    assert gpu_device.first_device(machine, missing)[0] == {}


def test_tests_that_are_skipped_for_want_of_a_device_fail(tmp_path: Path) -> None:
    machine = Machine()
    machine.skipped = '<skipped message="torch is not installed"/>'
    assert go(tmp_path, machine)[0] == 0
    machine.skipped = '<skipped message="no CUDA device here"/>'
    code, record = go(tmp_path, machine)
    assert code == 1
    assert steps(record)["tests"] is False


def test_a_file_whose_package_is_missing_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu_steps, "find_spec", lambda name: None if name == "torch" else object())
    lack = "ModuleNotFoundError: No module named '{}'"
    machine = Machine()
    machine.skipped = f"<error>{lack.format('torch')}</error>"
    code, record = go(tmp_path, machine)
    assert code == 0
    assert "'left_out': {'b': 'torch is not installed'}" in str(record["steps"])
    for name in ("numpy", "pyad_edge.density"):  # here, or none of those that may be missing
        machine.skipped = f"<error>{lack.format(name)}</error>"
        assert steps(go(tmp_path, machine)[1])["tests"] is False


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ({"nvidia_smi": Done(127, "nvidia-smi: No such file", 0.0)}, "needs a CUDA device"),
        ({"nvidia_smi": Done(9, "cannot reach the driver", 0.0)}, "cannot reach the driver"),
        ({"nvcc": Done(127, "", 0.0)}, "needs CUDA's compiler"),
        ({"nvcc": Done(0, "release 12.4, V12.4.1", 0.0)}, "12.8 or newer; nvcc is 12.4"),
    ],
)
def test_refuses_a_machine_that_lacks_something(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], answers: dict[str, Done], words: str
) -> None:
    machine = Machine(**answers)
    code, record = go(tmp_path, machine)
    assert (code, record) == (2, {})
    assert words in capsys.readouterr().err
    assert len(machine.commands) <= 2  # asked, and started nothing


def test_the_plan_starts_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    machine = Machine()
    assert gpu.main(["--plan"], machine) == 0
    assert machine.commands == []
    printed = capsys.readouterr().out
    words = ("_cuda", "racecheck", "test_cuda_anomaly_map.py", "gpu_frames.py", "run.py --device")
    for word in words:
        assert word in printed
    assert sum(limit for *_, limit in gpu.STEPS) > gpu.TOTAL  # each may use what others leave
    assert gpu.TOTAL < 540


def test_emulated_runs_both_orders_and_needs_no_device(tmp_path: Path) -> None:
    machine = Machine(nvidia_smi=Done(127, "", 0.0))
    code, record = go(tmp_path, machine, "--emulated")
    assert code == 0
    assert list(steps(record)) == ["build", "tests"]
    tested = sum("-m" in line and "cuda" in line for line in machine.commands)
    assert tested == 2 * len(gpu_steps.test_files())
    assert any("-DPYAD_CUDA=EMULATED" in line for line in machine.commands)


def test_a_kernel_that_is_not_emulated_is_left_out_there_and_fails_on_a_device(
    tmp_path: Path,
) -> None:
    machine = Machine()
    machine.skipped = f"<failure>AttributeError: {gpu_steps.NOT_EMULATED} 'x'</failure>"
    assert go(tmp_path, machine, "--emulated")[0] == 0
    assert go(tmp_path, machine)[0] == 1


@pytest.mark.parametrize(
    ("output", "count"),
    [
        ("", None),
        ("========= Internal Sanitizer Error", None),
        (NO_ERRORS * 2, 0),
        (NO_ERRORS + "========= ERROR SUMMARY: 3 errors", 3),
        ("========= RACECHECK SUMMARY: 0 hazards displayed (0 errors, 0 warnings)", 0),
        ("========= RACECHECK SUMMARY: 1 hazard displayed (0 errors, 1 warning)", 1),
    ],
)
def test_summaries_of_the_sanitizer_are_read(output: str, count: int | None) -> None:
    assert gpu_steps.findings(output) == count


def test_packages_that_were_brought_along_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths: list[str] = []

    class Listening(Machine):
        def __call__(self, command: Sequence[str], limit: float, *others: Any) -> Done:
            if others and others[0]:
                paths.append(others[0]["PYTHONPATH"])
            return super().__call__(command, limit, *others)

    monkeypatch.setenv("PYTHONPATH", "/brought/along")
    assert go(tmp_path, Listening())[0] == 0
    built = str(next((tmp_path / "build").iterdir()) / "python")
    assert set(paths) == {os.pathsep.join((built, "/brought/along"))}
