"""What CMake says where no CUDA compiler is to be found."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
cmake = pytest.importorskip("cmake", reason="the cmake package of the extra [dev] is not installed")
pybind11 = pytest.importorskip("pybind11", reason="the extra [dev] is not installed")


def configure(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Configure with a CUDA compiler that does not exist."""
    return subprocess.run(
        [
            str(Path(cmake.CMAKE_BIN_DIR) / "cmake"),
            "-S",
            str(ROOT),
            "-B",
            str(folder),
            f"-Dpybind11_DIR={pybind11.get_cmake_dir()}",
            f"-DPython_EXECUTABLE={sys.executable}",
            *options,
        ],
        env=os.environ | {"CUDACXX": str(folder / "no-nvcc")},
        capture_output=True,
        text=True,
        check=False,
    )


def test_without_a_cuda_compiler_the_build_goes_on_and_says_so(tmp_path: Path) -> None:
    done = configure(tmp_path)
    assert done.returncode == 0, done.stderr
    assert "built WITHOUT CUDA" in done.stderr
    assert "-DPYAD_CUDA=ON" in done.stderr


def test_demanding_cuda_without_a_compiler_is_an_error(tmp_path: Path) -> None:
    done = configure(tmp_path, "-DPYAD_CUDA=ON")
    assert done.returncode != 0
    assert "no CUDA compiler was found" in " ".join(done.stderr.split())


def test_without_wanting_cuda_nothing_is_said(tmp_path: Path) -> None:
    done = configure(tmp_path, "-DPYAD_CUDA=OFF")
    assert done.returncode == 0, done.stderr
    assert "CUDA" not in done.stderr
