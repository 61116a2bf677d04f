"""Builds the wheel with CUDA machine code for every architecture, and says how long and how large.

    python benchmarks/cuda_wheel.py     # `make cuda-all`

Needs CUDA 12.8 or newer, but no GPU. pip fetches the build's own tools, unless --no-isolation says
that they are installed. Exit code: 0, or 1 where the build fails or the wheel has 20 MB or more.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LIMIT = 20_000_000  # bytes


def main(arguments: list[str] | None = None) -> int:
    """Build, measure, judge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--no-isolation", action="store_true")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "cuda-all")
    options = parser.parse_args(arguments)
    shutil.rmtree(options.out, ignore_errors=True)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", str(ROOT)]
    command += ["--wheel-dir", str(options.out)]
    command += ["--config-settings=cmake.define.PYAD_CUDA=ON"]
    command += ["--config-settings=cmake.define.PYAD_CUDA_ARCHITECTURES=all"]
    command += ["--config-settings=cmake.define.PYAD_WERROR=ON"]
    if options.no_isolation:
        command.append("--no-build-isolation")
    start = time.monotonic()
    if subprocess.run(command, cwd=ROOT, check=False).returncode != 0:
        print("The wheel was not built; the lines above say why.", file=sys.stderr)
        return 1
    seconds = time.monotonic() - start
    (wheel,) = options.out.glob("*.whl")
    return report(wheel, seconds)


def report(wheel: Path, seconds: float) -> int:
    """Print the time and sizes of a wheel; the exit code."""
    size = wheel.stat().st_size
    print(f"{wheel.name}: {size / 1e6:.2f} MB in {seconds:.0f} s")
    with zipfile.ZipFile(wheel) as archive:
        for item in archive.infolist():
            if item.filename.endswith(".so"):
                packed, unpacked = item.compress_size / 1e6, item.file_size / 1e6
                print(f"  {item.filename}: {unpacked:.2f} MB, {packed:.2f} MB in the wheel")
    if size >= LIMIT:
        print(f"The wheel is larger than {LIMIT / 1e6:.0f} MB.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
