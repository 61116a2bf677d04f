"""A hook of MkDocs: a page with every command and option, made from the commands themselves."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import typer
from mkdocs.structure.files import File

from pyad_edge.console import EXIT_CODES
from pyad_edge.export.cli import app

PAGE = "commands.md"


def on_files(files: Any, config: Any) -> Any:
    """Add the page."""
    files.append(File.generated(config, PAGE, content=page()))
    return files


def page() -> str:
    """The page as Markdown."""
    root = typer.main.get_command(app)
    parts = [
        "# Every command",
        "Made from the commands' own `--help`. [The command line](command-line.md) says what they "
        "print and which exit codes they have.",
    ]
    for words, command in _commands(("pyad-edge",), root):
        parts += _section(words, command)
    codes = "; ".join(f"{code}: {_cell(meaning)}" for code, meaning in EXIT_CODES.items())
    return "\n\n".join([*parts, f"Exit codes of all of them: {codes}.", ""])


def _commands(words: tuple[str, ...], command: Any) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command below one, with the words that call it."""
    groups = getattr(command, "commands", None)
    if groups is None:
        yield words, command
        groups = {word: make() for word, make in getattr(command, "words", {}).items()}
    for name, below in groups.items():
        yield from _commands((*words, name), below)


def _section(words: tuple[str, ...], command: Any) -> list[str]:
    name = " ".join(words[1:])
    hints = get_type_hints(inspect.unwrap(command.callback))
    arguments = [one for one in command.params if one.param_type_name == "argument"]
    options = [one for one in command.params if one.param_type_name == "option"]
    wanted = [f"{_flags(one)[0]} {_value(one, hints)}" for one in options if one.required]
    usage = " ".join([*words, *(one.metavar or one.name.upper() for one in arguments), *wanted])
    rows = [(f"`{one.metavar or one.name.upper()}`", _text(one)) for one in arguments]
    rows += [(_option(one, hints), _text(one)) for one in options if one.name != "help"]
    lines = ["| option | what it is |", "|---|---|", *(f"| {one} | {text} |" for one, text in rows)]
    table = ["\n".join(lines)] if rows else []
    return [f"## {name}", _prose(command.help or ""), f"```sh\n{usage}\n```", *table]


def _option(one: Any, hints: dict[str, Any]) -> str:
    flags = ", ".join(f"`{flag}`" for flag in _flags(one))
    return flags if one.is_flag else f"{flags} `{_value(one, hints)}`"


def _flags(one: Any) -> list[str]:
    return [*one.opts, *one.secondary_opts]


def _value(one: Any, hints: dict[str, Any]) -> str:
    """What follows an option: its own word, or its choices, or its kind."""
    if one.metavar:
        return str(one.metavar)
    kind = hints[one.name]
    while get_origin(kind) is not Literal and get_args(kind):  # Optional[...] and list[...]
        kind = get_args(kind)[0]
    if get_origin(kind) is Literal:
        return "|".join(map(str, get_args(kind)))
    if isinstance(kind, type) and issubclass(kind, Enum):
        return "|".join(str(member.value) for member in kind)
    return {int: "N", float: "X", Path: "PATH"}.get(kind, "TEXT")


def _text(one: Any) -> str:
    """Help, with what is needed, repeated or taken where nothing is given."""
    said = [_prose(one.help) + ("" if one.help.endswith(".") else ".")] if one.help else []
    if one.required:
        said.append("**Needed.**")
    if getattr(one, "multiple", False):
        said.append("Several times.")
    default = one.default
    if default not in (None, False, (), []) and not one.required:
        values = default if isinstance(default, list | tuple) else [default]
        said.append("Default: " + ", ".join(f"`{getattr(v, 'value', v)}`" for v in values) + ".")
    return _cell(" ".join(said))


def _prose(text: str) -> str:
    """Help as Markdown: options as code, and typer's own markup undone."""
    plain = " ".join(text.replace("\\[", "[").split()).replace("[", "\\[").replace("<", "&lt;")
    return re.sub(r"(?<![\w-])(--[a-z][a-z-]+)", r"`\1`", plain)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
