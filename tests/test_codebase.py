"""The house rules as tests: lint, types, formats, one stem per kernel, versions, links."""

from __future__ import annotations

import os
import re
import shutil
import statistics
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import pyad_edge

ROOT = Path(__file__).resolve().parents[1]
PYTHON = ("pyad_edge", "export", "tests", "benchmarks", "deploy", "docs/_site")
KERNELS = (
    "preprocess",
    "patch_aggregation",
    "nearest_neighbors",
    "greedy_coreset",
    "anomaly_map",
    "cosine_distance_map",
    "density_weights",
    "correlation_divergence",
    "rerank",
    "convolution",
)
# Where each kernel has a file of its stem, or is named.
PLACES = (
    "csrc/include/pyad/{}.h",
    "csrc/cpu/{}.cpp",
    "csrc/bindings/register_{}.cpp",
    "pyad_edge/ops/{}.py",
    "pyad_edge/reference/{}.py",
    "tests/ops/test_{}.py",
    "benchmarks/kernels/{}.py",
)


def tool(*command: str, cwd: Path = ROOT, **environment: str) -> None:
    """Run a tool of the development environment; its complaints are the failure."""
    scripts = sysconfig.get_path("scripts")
    path = scripts + os.pathsep + os.environ.get("PATH", "")
    done = subprocess.run(
        command,
        cwd=cwd,
        env=os.environ | {"PATH": path} | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{' '.join(command[:3])}\n{done.stdout}{done.stderr}"


def sources(*folders: str, suffixes: tuple[str, ...]) -> list[Path]:
    found = [p for folder in folders for p in (ROOT / folder).rglob("*") if p.suffix in suffixes]
    assert found
    return sorted(path for path in found if "__pycache__" not in path.parts)


def test_ruff_finds_nothing() -> None:
    tool("ruff", "check", "--no-cache", "--quiet", "--output-format", "concise", *PYTHON)


def test_python_is_formatted() -> None:
    tool("ruff", "format", "--no-cache", "--check", "--quiet", *PYTHON)


def test_cpp_is_formatted() -> None:
    files = sources("csrc", "tests/native", suffixes=(".h", ".cpp", ".cu", ".cuh"))
    tool("clang-format", "--dry-run", "-Werror", *map(str, files))


def test_types_are_strict(tmp_path: Path) -> None:
    # As installed: export/ is pyad_edge.export.
    shutil.copytree(ROOT / "pyad_edge", tmp_path / "pyad_edge")
    shutil.copytree(ROOT / "export", tmp_path / "pyad_edge" / "export")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    tool(sys.executable, "-m", "mypy", "--cache-dir", os.devnull, "-p", "pyad_edge", cwd=tmp_path)


@pytest.mark.parametrize("kernel", KERNELS)
def test_every_kernel_is_in_every_room(kernel: str) -> None:
    missing = [p.format(kernel) for p in PLACES if not (ROOT / p.format(kernel)).is_file()]
    assert not missing, f"{kernel} lacks {', '.join(missing)}"
    assert f"register_{kernel}(" in (ROOT / "csrc/bindings/module.cpp").read_text()
    for package in ("ops", "reference"):
        assert f"def {kernel}(" in (ROOT / f"pyad_edge/{package}/{kernel}.py").read_text()
    contract = (ROOT / f"csrc/include/pyad/{kernel}.h").read_text()
    assert re.search(r"\bLimits?:", contract), f"{kernel}.h does not state its limits"


def test_the_module_file_only_registers() -> None:
    assert len((ROOT / "csrc/bindings/module.cpp").read_text().splitlines()) < 40


def test_files_stay_small() -> None:
    files = sources(*PYTHON, "csrc", suffixes=(".py", ".h", ".cpp", ".cu", ".cuh"))
    lengths = {path: len(path.read_text().splitlines()) for path in files}
    long = {str(path.relative_to(ROOT)): n for path, n in lengths.items() if n > 400}
    assert not long, f"longer than 400 lines: {long}"
    assert statistics.median(lengths.values()) < 120


def test_versions_agree() -> None:
    stated = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    newest = re.search(r"^## \[?(\d[^\s\]]*)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert stated is not None
    assert newest is not None
    assert stated[1] == newest[1] == pyad_edge.__version__


def test_links_lead_somewhere() -> None:
    pages = [
        *ROOT.glob("*.md"),
        *sources("docs", "export", "benchmarks", suffixes=(".md",)),
    ]
    dead = []
    for page in pages:
        text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text):
            if not re.match(r"[a-z]+:", target) and not (page.parent / target).exists():
                dead.append(f"{page.relative_to(ROOT)} -> {target}")
    assert not dead, f"dead links: {', '.join(dead)}"


def test_the_workshop_is_imported_under_its_installed_name() -> None:
    for path in sources(*PYTHON, suffixes=(".py",)):
        found = re.findall(r"^\s*(?:from|import) export\b.*", path.read_text(), re.MULTILINE)
        assert not found, f"{path.relative_to(ROOT)}: {found[0]} makes a second copy"


def test_public_names_are_listed_and_exist() -> None:
    for path in sources("pyad_edge", suffixes=(".py",)):
        if path.stem in ("__main__", "_native") or not path.read_text().strip():
            continue
        text = path.read_text()
        if path.stem == "__init__" and "import" not in text:
            continue  # a docstring alone
        assert "__all__ = [" in text, f"{path.relative_to(ROOT)} does not list its public names"
