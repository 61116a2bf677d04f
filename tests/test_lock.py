"""requirements/dev.lock: every line hashed, no place named, all that pyproject.toml asks for."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]
LOCK = (ROOT / "requirements" / "dev.lock").read_text()
PYTHONS = ("3.10", "3.11", "3.12", "3.13", "3.14")
MACHINES = ("x86_64", "aarch64")


def entries() -> list[tuple[Requirement, list[str]]]:
    """Each package with its hashes."""
    found = []
    for block in re.split(r"\n(?=[A-Za-z0-9])", LOCK.split("\n", 1)[1].strip()):
        first, *rest = (line.strip().removesuffix("\\").strip() for line in block.splitlines())
        found.append((Requirement(first), rest))
    return found


def wanted() -> list[Requirement]:
    """What the project, its extras [train] and [dev], and its build ask for."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"]
    texts = project["project"]["dependencies"] + extras["train"] + extras["dev"]
    return [Requirement(text) for text in texts + project["build-system"]["requires"]]


def environment(python: str, machine: str) -> dict[str, str]:
    return {k: str(v) for k, v in default_environment().items()} | {
        "python_version": python,
        "python_full_version": f"{python}.9",
        "platform_machine": machine,
        "sys_platform": "linux",
        "platform_system": "Linux",
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
        "extra": "",
    }


def test_every_package_has_one_version_and_hashes() -> None:
    assert len(entries()) > 100
    for requirement, hashes in entries():
        assert re.fullmatch(r"==[^*]+", str(requirement.specifier)), requirement
        assert requirement.url is None, requirement
        assert hashes, f"{requirement.name} has no hash"
        for line in hashes:
            assert re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", line), f"{requirement.name}: {line}"


def test_no_place_is_named() -> None:
    assert "://" not in LOCK
    options = [line for line in LOCK.splitlines() if line.startswith("-")]
    assert not options, "no index, no other file, no editable path"


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("python", PYTHONS)
def test_what_the_project_asks_for_is_there(python: str, machine: str) -> None:
    here = environment(python, machine)
    locked = {}
    for requirement, _ in entries():
        if requirement.marker is None or requirement.marker.evaluate(here):
            name = canonicalize_name(requirement.name)
            assert name not in locked, f"{name} twice for Python {python}"
            locked[name] = str(requirement.specifier).removeprefix("==")
    missing = [
        str(requirement)
        for requirement in wanted()
        if (requirement.marker is None or requirement.marker.evaluate(here))
        and not requirement.specifier.contains(
            locked.get(canonicalize_name(requirement.name), "0.dev0"), prereleases=False
        )
    ]
    assert not missing, f"make lock: {', '.join(missing)}"
