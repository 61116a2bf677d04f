"""cmake/cuda_architectures.cmake with made-up compilers and devices; cuda_wheel.py's verdict."""

from __future__ import annotations

import os
import subprocess
import zipfile
from pathlib import Path

import cuda_wheel
import pytest

ROOT = Path(__file__).resolve().parents[1]
cmake = pytest.importorskip("cmake", reason="the cmake package of the extra [dev] is not installed")

CUDA_13 = "75 80 86 87 88 89 90 100 103 110 120 121"
CUDA_12_8 = "50 52 60 70 75 80 86 87 89 90 100 101 120"
CUDA_12_4 = "50 60 70 75 80 86 87 89 90"
ALL = "75-real;80-real;86-real;87-real;89-real;90-real;100-real;{}-real;120-real;120-virtual"
FALLBACK = "75-virtual;80-virtual"


def architectures(
    tmp_path: Path, wanted: str, known: str, devices: str | None
) -> subprocess.CompletedProcess[str]:
    """Ask with an nvcc that knows some architectures, and an nvidia-smi that prints ``devices``."""
    tools = tmp_path / "bin"
    tools.mkdir()
    codes = "\\n".join(f"sm_{code}" for code in known.split())
    answers = {"nvcc": f"printf '{codes}\\n'"}
    answers["nvidia-smi"] = "exit 9" if devices is None else f"printf '{devices}'"
    for name, answer in answers.items():
        (tools / name).write_text(f"#!/bin/sh\n{answer}\n")
        (tools / name).chmod(0o755)
    script = tmp_path / "ask.cmake"
    script.write_text(
        "cmake_minimum_required(VERSION 3.21)\n"
        f'include("{ROOT}/cmake/cuda_architectures.cmake")\n'
        f'pyad_cuda_architectures(found "{wanted}" "{tools / "nvcc"}")\n'
        'message("found=${found}=")\n'
    )
    return subprocess.run(
        [str(Path(cmake.CMAKE_BIN_DIR) / "cmake"), "-P", str(script)],
        env=os.environ | {"PATH": f"{tools}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("wanted", "known", "devices", "expected"),
    [
        ("native", CUDA_13, "9.0\\n", "90-real"),
        ("native", CUDA_13, "8.6\\n8.6\\n12.0\\n", "86-real;120-real"),
        ("native", CUDA_13, "12.1\\n", "121-real"),
        ("native", CUDA_12_8, "11.0\\n", "101-real"),  # Thor by its new name
        ("native", CUDA_13, "10.1\\n", "110-real"),  # and by its old one
        ("native", CUDA_12_8, "12.1\\n", FALLBACK),  # a device newer than the compiler
        ("native", CUDA_13, "[N/A]\\n", FALLBACK),
        ("native", CUDA_13, None, FALLBACK),
        ("all", CUDA_13, None, ALL.format(110)),
        ("all", CUDA_12_8, "9.0\\n", ALL.format(101)),
        ("80;90-real", CUDA_13, "9.0\\n", "80;90-real"),
    ],
)
def test_architectures(
    tmp_path: Path, wanted: str, known: str, devices: str | None, expected: str
) -> None:
    done = architectures(tmp_path, wanted, known, devices)
    assert done.returncode == 0, done.stderr
    assert f"found={expected}=" in done.stderr


def test_all_needs_a_compiler_that_knows_all(tmp_path: Path) -> None:
    done = architectures(tmp_path, "all", CUDA_12_4, None)
    assert done.returncode != 0
    words = " ".join(done.stderr.split())
    assert "needs CUDA 12.8 or newer" in words
    assert "does not know 100;110;120" in words


@pytest.mark.parametrize(("size", "code"), [(1000, 0), (cuda_wheel.LIMIT, 1)])
def test_a_large_wheel_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], size: int, code: int
) -> None:
    wheel = tmp_path / "pyad_edge-0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("pyad_edge/_cuda.so", bytes(size))
    assert cuda_wheel.report(wheel, 61.2) == code
    printed = capsys.readouterr()
    assert "in 61 s" in printed.out
    assert "_cuda.so" in printed.out
    assert ("larger than 20 MB" in printed.err) == bool(code)
