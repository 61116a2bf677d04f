"""The C++ tests of tests/native: plain, under the sanitizers, and for 64-bit Arm under qemu.

And the programs beside them: the fuzz targets without libFuzzer, and threads.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import subprocess
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyad_edge.ops import threads

ROOT = Path(__file__).resolve().parents[1]
SANITIZERS = {"asan": "address,undefined", "tsan": "thread"}
ENVIRONMENT = os.environ | {
    "PATH": sysconfig.get_path("scripts") + os.pathsep + os.environ.get("PATH", "")
}
for inherited in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS"):  # of the `make test` that runs this
    ENVIRONMENT.pop(inherited, None)


@pytest.fixture(scope="module", autouse=True)
def build_folder() -> Iterator[None]:
    """One run at a time: the targets build into build/."""
    (ROOT / "build").mkdir(exist_ok=True)
    with (ROOT / "build" / "native-tests.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", "--no-print-directory", *arguments],
        cwd=ROOT,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )


def passed(target: str) -> str:
    """Build and run a target; its output where every test passed."""
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    done = make(target)
    failures = "\n".join(
        line for line in done.stdout.splitlines() if not line.startswith(("passed", "["))
    )
    assert done.returncode == 0, f"make {target}\n{failures}\n{done.stderr}"
    ran = re.search(r"^0 of (\d+) native tests failed$", done.stdout, re.MULTILINE)
    assert ran is not None, failures
    assert int(ran[1]) >= 30
    return done.stdout


def needs_sanitizer(name: str, folder: Path) -> None:
    """Skip where the compiler lacks the sanitizer, or this kernel lets no such program start."""
    source = folder / "probe.cpp"
    source.write_text("int main() { return 0; }\n")
    compiler = os.environ.get("CXX", "c++")
    try:
        for command in (
            [compiler, f"-fsanitize={name}", str(source), "-o", str(folder / "probe")],
            [str(folder / "probe")],
        ):
            subprocess.run(command, check=True, capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip(f"no C++ compiler {compiler}")
    except subprocess.CalledProcessError as error:
        pytest.skip(f"-fsanitize={name} does not work here: {error.stderr.strip()[:200]}")


def test_native_tests_pass_at_every_level() -> None:
    levels = re.search(r"^CPU levels: (.+)$", passed("native"), re.MULTILINE)
    assert levels is not None
    assert levels[1].split() == list(threads.available_cpu_levels())


@pytest.mark.slow
@pytest.mark.parametrize("target", SANITIZERS)
def test_sanitizers_find_nothing(target: str, tmp_path: Path) -> None:
    needs_sanitizer(SANITIZERS[target], tmp_path)
    passed(target)


@pytest.mark.slow
def test_arm_gives_the_same_bits() -> None:
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    tools = make("cross-tools")
    if tools.returncode:
        pytest.skip(next(line for line in tools.stdout.splitlines() if "apt-get" in line))
    assert re.search(r"^CPU levels: portable neon", passed("neon"), re.MULTILINE)


def declared_targets() -> list[str]:
    names = [
        name
        for path in sorted((ROOT / "tests/native/fuzz").glob("*.cpp"))
        for name in re.findall(r"^PYAD_FUZZ\((\w+)\)", path.read_text(), re.MULTILINE)
    ]
    assert names
    return sorted(names)


def test_every_fuzz_target_was_run_long_enough() -> None:
    figures = json.loads((ROOT / "benchmarks/results/fuzz_native.json").read_text())
    runs = figures["runs"]
    assert sorted(run["target"] for run in runs) == declared_targets()
    assert figures["executions"] == sum(run["executions"] for run in runs)
    for run in runs:
        assert run["executions"] >= 200_000 or run["seconds"] >= 300, run["target"]
        assert run["executions"] == sum(run["by_level"].values()) > run["refused"]
        assert run["crashes"] == 0, run["target"]


@pytest.mark.slow
def test_fuzz_targets_hold_without_libfuzzer(tmp_path: Path) -> None:
    """The corpus of every target, and some hundreds of random inputs for each."""
    needs_sanitizer(SANITIZERS["asan"], tmp_path)
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    done = make("fuzz-replay", "runs=300")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
    line = r"^(\w+): ran (\d+) \((.+)\), refused (\d+), (\d+) of the corpus"
    found = re.findall(line, done.stdout, re.MULTILINE)
    assert sorted(target for target, *_ in found) == declared_targets()
    for target, ran, levels, refused, corpus in found:
        seeds = (ROOT / f"tests/native/fuzz/corpus/{target}.hex").read_text().split()
        assert int(corpus) == len(seeds) > 0, target
        assert int(ran) == 300 + len(seeds), target
        assert int(refused) < int(ran), f"{target} works on nothing"
        assert [level.split()[0] for level in levels.split(", ")] == list(
            threads.available_cpu_levels()
        )


@pytest.mark.slow
def test_eight_threads_give_the_bits_of_one(tmp_path: Path) -> None:
    for sanitizer in SANITIZERS.values():
        needs_sanitizer(sanitizer, tmp_path)
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    done = make("threads", "calls=300")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
    assert done.stdout.count("8 threads of 300 calls: 2400 calls, 0 differ") == len(SANITIZERS)


@pytest.mark.parametrize(
    ("target", "command"),
    [
        ("neon", "apt-get install g++-aarch64-linux-gnu qemu-user"),
        ("fuzz-native", "apt-get install clang"),
    ],
)
def test_missing_tools_are_named(target: str, command: str, tmp_path: Path) -> None:
    make_program = shutil.which("make")
    if make_program is None:
        pytest.skip("make is not installed")
    for tool in ("sh", "find"):
        found = shutil.which(tool)
        assert found is not None
        (tmp_path / tool).symlink_to(found)
    done = subprocess.run(
        [make_program, target],
        cwd=ROOT,
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert command in done.stdout
