"""Runs the cross-compiled wheel under qemu: kernels against their references, and engines.

    make aarch64-run                   # after `make aarch64`; needs Debian 12, qemu-user, network

Fetches Debian's Python for arm64 into ``build/aarch64/root`` (nothing is installed: the packages
are unpacked there) and the packages of the runtime for aarch64 into ``build/aarch64/site``.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
from pathlib import Path

from cross_build import ROOT, run
from wheel_checks import WheelError

PACKAGES = ("python3-minimal", "libpython3-stdlib", "libstdc++6", "libgcc-s1")
# Under Debian 12's qemu 7.2, importing onnxruntime 1.32 is a segmentation fault; 1.23 runs.
EMULATED = ("onnxruntime==1.23.2", "pytest", "hypothesis")
KERNELS = ("nearest_neighbors", "cosine_distance_map")  # enough for a quarter of an hour
PLATFORMS = ("manylinux_2_35", "manylinux_2_28", "manylinux_2_27", "manylinux2014")
ENGINES = ROOT / "tests" / "engines"


def main(arguments: list[str] | None = None) -> int:
    """Fetch what is missing and run; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "aarch64")
    parser.add_argument("--kernels", nargs="*", default=KERNELS, help="tests/ops/test_<kernel>.py")
    options = parser.parse_args(arguments)
    out: Path = options.out.resolve()
    try:
        qemu = shutil.which("qemu-aarch64") or shutil.which("qemu-aarch64-static")
        if qemu is None or shutil.which("dpkg") is None:
            raise WheelError("[aarch64] needs Debian and its qemu: apt-get install qemu-user")
        wheels = list(out.glob("*.whl"))
        if len(wheels) != 1:
            raise WheelError(
                f"[aarch64] expected one wheel in {out}, got {len(wheels)}. Run make aarch64."
            )
        python = fetch_python(out)
        site = fetch_packages(wheels[0], out)
    except WheelError as error:
        print(error, file=sys.stderr)
        return 1
    python_there = [qemu, "-L", str(out / "root"), "-E", f"PYTHONPATH={site}", str(python)]
    smoke = str(Path(__file__).with_name("smoke.py"))
    tests = [str(ROOT / f"tests/ops/test_{name}.py") for name in options.kernels]
    # Not in the repository's root: its pyad_edge has no module for this machine.
    commands = [[smoke, str(ENGINES)]]
    if tests:
        commands.append(["-m", "pytest", "-q", "--noconftest", "-p", "no:cacheprovider", *tests])
    codes = [
        subprocess.run([*python_there, *one], cwd=out, check=False).returncode for one in commands
    ]
    return max(codes, key=abs)


def fetch_python(out: Path) -> Path:
    """Debian's Python for arm64, unpacked; its path.

    Raises:
        WheelError: where it cannot be fetched, or is another version than the wheel is for.
    """
    python = out / "root" / "usr" / "bin" / f"python3.{sys.version_info.minor}"
    if python.is_file():
        return python
    state = out / "apt"
    for folder in ("state/lists/partial", "cache/archives/partial", "none"):
        (state / folder).mkdir(parents=True, exist_ok=True)
    (state / "status").touch()
    options = {
        "APT::Architecture": "arm64",
        "APT::Architectures::": "arm64",
        "Dir::State": state / "state",
        "Dir::State::status": state / "status",
        "Dir::Cache": state / "cache",
        "Debug::NoLocking": "true",
    }
    apt = ["apt-get", *(f"-o{name}={value}" for name, value in options.items())]
    run([*apt, "update"])
    run([*apt, "install", "--download-only", "--yes", "--no-install-recommends", *PACKAGES])
    for package in sorted((state / "cache" / "archives").glob("*.deb")):
        run(["dpkg", "-x", str(package), str(out / "root")])
    if not python.is_file():
        raise WheelError(
            f"[aarch64] the wheel is for Python 3.{sys.version_info.minor}, which this Debian does "
            "not have for arm64. Build it with the version that it has."
        )
    return python


def fetch_packages(wheel: Path, out: Path) -> Path:
    """The wheel and what it needs, for aarch64, in a folder.

    Raises:
        WheelError: where a package has no wheel for aarch64.
    """
    site = out / "site"
    shutil.rmtree(site, ignore_errors=True)
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    command += ["--target", str(site), "--only-binary=:all:", "--implementation", "cp"]
    command += ["--python-version", f"3.{sys.version_info.minor}"]
    command += [f"--platform={name}_aarch64" for name in PLATFORMS]
    own = re.search(r"-(cp\d+)-", wheel.name)
    abis = (own[1] if own else "none", "abi3", "none")
    run([*command, *(f"--abi={abi}" for abi in abis), str(wheel), *EMULATED])
    return site


if __name__ == "__main__":
    raise SystemExit(main())
