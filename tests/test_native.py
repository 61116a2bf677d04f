"""The C++ tests of tests/native: plain, under the sanitizers, and for 64-bit Arm under qemu."""

from __future__ import annotations

import fcntl
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


def make(target: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", "--no-print-directory", target],
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


def test_missing_cross_tools_are_named(tmp_path: Path) -> None:
    make_program = shutil.which("make")
    if make_program is None:
        pytest.skip("make is not installed")
    for tool in ("sh", "find"):
        found = shutil.which(tool)
        assert found is not None
        (tmp_path / tool).symlink_to(found)
    done = subprocess.run(
        [make_program, "neon"],
        cwd=ROOT,
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "apt-get install g++-aarch64-linux-gnu qemu-user" in done.stdout
