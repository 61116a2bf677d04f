"""The README's code runs as it stands, and its commands exist."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest
import typer
from tiny_engine import TinyEngine

from pyad_edge.console import EXIT_CODES
from pyad_edge.export.cli import app

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
PAGES = sorted({README, *ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")})


def blocks(page: Path, *languages: str) -> list[str]:
    """Fenced code of these languages, in order."""
    found = re.findall(r"^```(\w+)\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
    return [code for language, code in found if language in languages]


def commands(page: Path) -> list[list[str]]:
    """Every ``pyad-edge`` line of a page's shell blocks, split as a shell would."""
    text = "\n".join(blocks(page, "sh", "bash", "console")).replace("\\\n", " ")
    words = [shlex.split(line.removeprefix("$ "), comments=True) for line in text.splitlines()]
    return [line[1:] for line in words if line[:1] == ["pyad-edge"]]


def test_the_python_runs_in_order(
    tiny: TinyEngine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(tiny.path, "part.pyad")
    shutil.copytree(tiny.data / "train/good", "parts")
    namespace: dict[str, object] = {"__name__": "readme"}
    codes = blocks(README, "python")
    assert codes
    for number, code in enumerate(codes, 1):
        exec(compile(code, f"README.md, Python block {number}", "exec"), namespace)
    printed = capsys.readouterr().out
    assert "000.png OK" in printed
    assert "normal pictures" in printed


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.name))
def test_its_commands_and_options_exist(page: Path) -> None:
    root = typer.main.get_command(app)
    found = commands(page)
    if page == README:
        assert {line[0] for line in found} >= {"train", "info", "eval", "run", "backbone"}
    for line in found:
        if "--help" in line or line == ["--version"]:
            continue
        command, name, rest = root, "pyad-edge", list(line)
        context = command.make_context(name, [], resilient_parsing=True)
        while hasattr(command, "commands"):
            name = rest.pop(0)
            assert name in command.commands, f"{page.name}: no command {' '.join(line)}"
            command = command.commands[name]
            context = command.make_context(name, [], parent=context, resilient_parsing=True)
        # Raises where an option does not exist or a value does not convert.
        with command.make_context(name, rest, parent=context.parent) as parsed:
            assert parsed.params


def test_every_exit_code_is_documented() -> None:
    text = (ROOT / "docs/command-line.md").read_text()
    for code in EXIT_CODES:
        assert re.search(rf"^\|\s*`?{code}`?\s*\|", text, re.MULTILINE), f"exit code {code}"
