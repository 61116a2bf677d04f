"""Builds pyad_edge beside the source tree with the Python and the packages at hand, for gpu.py.

Nothing is fetched and nothing is installed: CMake makes the native modules, and a folder of links
makes them and the source tree one importable package. Needs the standard library alone.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# What pyad_edge/__init__.py imports, by import name; the kernels need numpy alone.
RUNTIME = ("numpy", "onnxruntime", "cv2", "PIL", "pydantic", "rich", "safetensors", "typer")


@dataclass(frozen=True)
class Done:
    """A command that has ended.

    Attributes:
        code: its exit code; None where it was stopped at its limit.
        output: what it printed, both streams.
        seconds: how long it took.
    """

    code: int | None
    output: str
    seconds: float


def run(
    command: Sequence[str],
    limit: float,
    environment: Mapping[str, str] | None = None,
    cwd: Path = ROOT,
) -> Done:
    """Run a command, and stop it with everything that it started at its limit, in seconds."""
    start = time.monotonic()
    try:
        process = subprocess.Popen(
            command,
            cwd=cwd,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
    except OSError as error:
        return Done(127, f"{command[0]}: {error.strerror}", 0.0)
    try:
        output, _ = process.communicate(timeout=max(limit, 0.0))
        code: int | None = process.returncode
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate()
        code = None
    return Done(code, output, time.monotonic() - start)


def missing_packages() -> list[str]:
    """Packages of pyad_edge's runtime that this Python does not have."""
    return [name for name in RUNTIME if importlib.util.find_spec(name) is None]


def pybind11_options() -> list[str] | None:
    """CMake options that name pybind11: the package itself, or the headers that torch carries."""
    spec = importlib.util.find_spec("pybind11")
    if spec is not None and spec.origin is not None:
        folder = Path(spec.origin).parent / "share" / "cmake" / "pybind11"
        if folder.is_dir():
            return [f"-Dpybind11_DIR={folder}"]
    spec = importlib.util.find_spec("torch")
    if spec is not None and spec.origin is not None:
        headers = Path(spec.origin).parent / "include"
        if (headers / "pybind11" / "pybind11.h").is_file():
            return [f"-DPYAD_PYBIND11_INCLUDE={headers}"]
    return None


def nvcc_path() -> str | None:
    """The CUDA compiler that CMake will find, or one where NVIDIA's installer puts it."""
    named = os.environ.get("CUDACXX") or shutil.which("nvcc")
    usual = Path("/usr/local/cuda/bin/nvcc")
    return named or (str(usual) if usual.is_file() else None)


def commands(folder: Path, *, emulated: bool) -> list[list[str]]:
    """How CMake is called: configure, then build."""
    configure = [
        "cmake",
        *("-S", str(ROOT), "-B", str(folder)),
        f"-DPYAD_CUDA={'EMULATED' if emulated else 'ON'}",
        f"-DPython_EXECUTABLE={sys.executable}",
        *(pybind11_options() or []),
    ]
    if shutil.which("ninja"):
        configure += ["-G", "Ninja"]
    compiler = nvcc_path()
    if compiler and not emulated:
        configure.append(f"-DCMAKE_CUDA_COMPILER={compiler}")
    jobs = str(len(os.sched_getaffinity(0)))
    build = ["cmake", "--build", str(folder), "--parallel", jobs, "--target", "_native", "_cuda"]
    return [configure, build]


def discard_foreign(folder: Path) -> None:
    """Remove a build folder that was made for a source tree at another place."""
    cache = folder / "CMakeCache.txt"
    if cache.is_file() and f"CMAKE_HOME_DIRECTORY:INTERNAL={ROOT}\n" not in cache.read_text():
        shutil.rmtree(folder)


def stage(folder: Path) -> Path:
    """Make the folder to put on PYTHONPATH: links to the sources and to the modules just built.

    Where packages of the runtime are missing, pyad_edge/__init__.py is replaced by an empty one, so
    that the kernels can be imported with NumPy alone.
    """
    python = folder / "python"
    shutil.rmtree(python, ignore_errors=True)
    package = python / "pyad_edge"
    package.mkdir(parents=True)
    for path in (ROOT / "pyad_edge").iterdir():
        if path.suffix != ".so" and path.name != "__pycache__":
            (package / path.name).symlink_to(path)
    (package / "export").symlink_to(ROOT / "export")
    for module in (*folder.glob("_native.*.so"), *folder.glob("_cuda.*.so")):
        (package / module.name).symlink_to(module)
    version = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    metadata = (
        f"Metadata-Version: 2.1\nName: pyad_edge\nVersion: {version[1] if version else '0'}\n"
    )
    about = python / "pyad_edge.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(metadata)
    (python / "sitecustomize.py").write_text(
        "# An editable installation of pyad_edge would stand before PYTHONPATH.\n"
        "import sys\n\n"
        "sys.meta_path[:] = [\n"
        "    f for f in sys.meta_path if '_editable_skbc_pyad_edge' not in type(f).__module__\n"
        "]\n"
    )
    if missing_packages():
        (package / "__init__.py").unlink()
        (package / "__init__.py").write_text(
            '"""The kernels alone: other packages are missing."""\n'
        )
    return python
