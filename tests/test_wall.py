"""The wall: what ships to the line never needs torch, nor the workshop."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_engine import TinyEngine

import pyad_edge

PACKAGE = Path(pyad_edge.__file__).parent
WORKSHOP = PACKAGE / "export"
HEAVY = ("torch", "torchvision", "timm", "onnx", "onnxscript")
ADVISE = ("--latency", "10s", "--json")
TESTERS = ("sklearn", "scipy", "torchmetrics", "pytest", "hypothesis")

# Whoever imports one of these fails, as on a machine that lacks them.
BLOCK = f"""
import sys
class Wall:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {HEAVY + TESTERS!r}:
            raise ImportError(f"the wall: {{name}}")
sys.meta_path.insert(0, Wall())
"""


def shipped_files() -> list[Path]:
    return [path for path in sorted(PACKAGE.rglob("*.py")) if WORKSHOP not in path.parents]


def walled(code: str, *arguments: object) -> str:
    """Run code in a process that cannot import torch and its like; its stdout."""
    command = [sys.executable, "-W", "error", "-c", BLOCK + code, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/")
    assert done.returncode == 0, done.stderr
    return done.stdout


def imported(path: Path) -> set[str]:
    """Every module that a file names in an import, at any depth."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide where a name comes from"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def test_what_ships_names_neither_torch_nor_the_workshop() -> None:
    files = shipped_files()
    assert len(files) > 30
    for path in files:
        for name in imported(path):
            assert name.split(".")[0] not in HEAVY + TESTERS, f"{path} imports {name}"
            assert not name.startswith("pyad_edge.export"), f"{path} imports {name}"


def test_nothing_unpickles_and_nothing_asserts_on_the_line() -> None:
    for path in shipped_files():
        tree = ast.parse(path.read_text())
        loaded = {name.split(".")[0] for name in imported(path)}
        assert not loaded & {"pickle", "dill", "joblib", "shelve", "marshal"}, path
        calls = [n for n in ast.walk(tree) if isinstance(n, ast.keyword)]
        assert not [n for n in calls if n.arg == "allow_pickle"], path
        assert not [n for n in ast.walk(tree) if isinstance(n, ast.Assert)], f"{path}: -O drops it"


def test_every_shipped_module_imports_and_infers_without_torch(tiny: TinyEngine) -> None:
    modules = [
        ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
        for path in shipped_files()
        if path.stem != "__main__"
    ]
    picture, score = next(iter(tiny.scores.items()))
    code = """
import importlib, json, sys
for name in json.loads(sys.argv[1]):
    importlib.import_module(name)
assert not [name for name in sys.modules if name.startswith("pyad_edge.export")]
import pyad_edge
print(pyad_edge.Runtime(sys.argv[2]).infer(pyad_edge.read_image(sys.argv[3])).score)
"""
    assert float(walled(code, json.dumps(modules), tiny.path, picture)) == score


@pytest.mark.parametrize("backbone", ["edge18", "tiny"])
def test_training_measuring_and_running_need_no_torch(
    tiny: TinyEngine, tmp_path: Path, backbone: str
) -> None:
    engine = tmp_path / "part.pyad"
    network = tiny.backbone if backbone == "tiny" else backbone
    train = ["train", "patchcore", "--data", tiny.data, "--out", engine, "--backbone", network]
    commands = [
        [*train, "--size", "64", "--coreset", "0.1"],
        ["eval", engine, "--data", tiny.data, "--json"],
        ["run", engine, "--source", tiny.data / "test/good"],
        ["info", engine],
        ["doctor"],
        ["advise", "--data", tiny.data, "--backbone", network, "--size", "128", *ADVISE],
    ]
    code = """
import json, sys
from pyad_edge.console import run_app
from pyad_edge.export.cli import app
for command in json.loads(sys.argv[1]):
    sys.argv = ["pyad-edge", *command]
    assert run_app(app) == 0, command
    print("==")
"""
    answers = walled(code, json.dumps(commands, default=str)).split("==\n")
    assert answers[0] == ""
    assert json.loads(answers[1])["image_auroc"] is not None
    assert [json.loads(line)["verdict"] for line in answers[2].splitlines()]
    advice = json.loads(answers[5])
    assert [row["name"].split()[0] for row in advice["candidates"]] == ["PatchCore", "PatchCore"]
    assert "pip install 'pyad_edge[train]'" in advice["skipped"][-1]["reason"]


def test_importing_loads_nothing_heavy() -> None:
    code = """
import sys
import pyad_edge, pyad_edge.export.cli
print([name for name in sys.modules if name.split(".")[0] in sys.argv[1:]])
"""
    command = [sys.executable, "-c", code, *HEAVY, *TESTERS]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd="/")
    assert done.stdout.strip() == "[]"


def test_exporting_a_backbone_without_torch_says_what_to_install(tmp_path: Path) -> None:
    code = """
import sys
from pyad_edge.console import run_app
from pyad_edge.export.cli import app
sys.stderr = sys.stdout
sys.argv = ["pyad-edge", "backbone", "export", "resnet18", "--weights", "random", "--layers", "2",
            "--out", sys.argv[1]]
print(run_app(app))
"""
    *sentence, exit_code = walled(code, tmp_path / "r18.onnx").split()
    assert exit_code == "5"
    assert "[train]" in " ".join(sentence)
    assert "Traceback" not in sentence
    assert list(tmp_path.iterdir()) == []
