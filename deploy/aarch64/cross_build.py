"""Cross-compiles the wheel for 64-bit Arm (Jetson and other boards) and checks what came out.

    make aarch64                       # for the Python of .venv-test
    python deploy/aarch64/cross_build.py     # for the Python that runs this

Needs Debian's g++-aarch64-linux-gnu, and pyelftools, auditwheel and wheel of the extra [dev]. The
headers are those of the Python that runs this: on 64-bit Linux they say the same for both
machines. The wheel is therefore for the same version of Python.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from wheel_checks import MODULE, TAG, WheelError, examine_wheel

ROOT = Path(__file__).resolve().parents[2]
COMPILER = "aarch64-linux-gnu-g++"
TOOLCHAIN = ROOT / "cmake" / "aarch64-linux-gnu.cmake"


def main(arguments: list[str] | None = None) -> int:
    """Build, check, rename; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "aarch64")
    options = parser.parse_args(arguments)
    try:
        print("\n".join(build(options.out)))
    except WheelError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def build(out: Path) -> list[str]:
    """Build the wheel into ``out``; lines that say what it is.

    Raises:
        WheelError: without the compiler, or where the build or a check fails.
    """
    if shutil.which(COMPILER) is None:
        raise WheelError(
            f"[aarch64] {COMPILER} is not installed: apt-get install g++-aarch64-linux-gnu"
        )
    if not (sys.platform == "linux" and sys.maxsize == 2**63 - 1 and sys.byteorder == "little"):
        raise WheelError(
            "[aarch64] expected a 64-bit little-endian Linux, whose Python headers fit 64-bit Arm, "
            f"got {sysconfig.get_platform()}. Build on the device instead."
        )
    for old in out.glob("*.whl"):
        old.unlink()
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--quiet"]
    command += ["--no-deps", "--no-build-isolation", "--wheel-dir", str(out)]
    for name, value in {
        "build-dir": out / "cmake",
        "cmake.define.CMAKE_TOOLCHAIN_FILE": TOOLCHAIN,
        "cmake.define.PYTHON_MODULE_EXTENSION": f".{MODULE.split('.', 1)[1]}",
        "cmake.define.PYAD_CUDA": "OFF",
    }.items():
        command.append(f"--config-settings={name}={value}")
    scripts = sysconfig.get_path("scripts")
    environment = os.environ | {
        "_PYTHON_HOST_PLATFORM": "linux-aarch64",  # scikit-build-core names the wheel by it
        "PATH": scripts + os.pathsep + os.environ.get("PATH", ""),
    }
    run([*command, str(ROOT)], environment)
    (wheel,) = out.glob("*.whl")
    lines = examine_wheel(wheel)
    run([sys.executable, "-m", "wheel", "tags", "--remove", f"--platform-tag={TAG}", str(wheel)])
    (renamed,) = out.glob("*.whl")
    return [*lines, str(renamed)]


def run(command: list[str], environment: dict[str, str] | None = None) -> None:
    """Run a tool quietly.

    Raises:
        WheelError: with its last lines, where it fails.
    """
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        tail = "\n".join((done.stdout + done.stderr).splitlines()[-30:])
        raise WheelError(f"[aarch64] {' '.join(command[2:6])} failed:\n{tail}")


if __name__ == "__main__":
    raise SystemExit(main())
