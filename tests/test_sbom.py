"""Bills of materials: valid CycloneDX 1.6, native parts named; licences of the runtime's needs."""

from __future__ import annotations

import json
import re
import subprocess
from email.message import Message
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    import tomli as tomllib

pytest.importorskip("cyclonedx", reason="cyclonedx-bom of the extra [dev] is not installed")

import sbom
from sbom import SbomError, merge, validate

cmake = pytest.importorskip("cmake", reason="the cmake package of the extra [dev] is not installed")

ROOT = Path(__file__).resolve().parents[1]


def wheel_bill(folder: Path, *, version: str = "0.1.0", pybind11: str, cuda: str) -> dict[str, Any]:
    """What the build writes, without a build."""
    script = folder / "write.cmake"
    script.write_text(
        f'include("{ROOT}/cmake/sbom.cmake")\n'
        f'pyad_write_sbom("{folder}/bill.json" "{version}" "{pybind11}" "{cuda}")\n'
    )
    program = str(Path(cmake.CMAKE_BIN_DIR) / "cmake")
    subprocess.run([program, "-P", str(script)], check=True, capture_output=True)
    found: dict[str, Any] = json.loads((folder / "bill.json").read_text())
    return found


@pytest.mark.parametrize(("pybind11", "cuda"), [("3.1.0", ""), ("", "13.0.48")])
def test_the_build_writes_what_it_compiled_in(tmp_path: Path, pybind11: str, cuda: str) -> None:
    bill = wheel_bill(tmp_path, pybind11=pybind11, cuda=cuda)
    validate(json.dumps(bill))
    parts = {part["name"]: part for part in bill["components"]}
    assert set(parts) == {"pybind11", "edge18"} | ({"cudart_static"} if cuda else set())
    assert parts["pybind11"].get("version") == (pybind11 or None)
    assert bill["dependencies"][0]["dependsOn"] == list(parts)
    if cuda:
        assert parts["cudart_static"]["version"] == cuda


def test_native_parts_join_the_packages(tmp_path: Path) -> None:
    environment = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "metadata": {
            "component": {"type": "application", "name": "pyad_edge", "bom-ref": "root-component"}
        },
        "components": [
            {"type": "library", "name": name, "version": "1", "bom-ref": f"{name}==1"}
            for name in ("numpy", "pyad-edge")
        ],
        "dependencies": [
            {"ref": "root-component", "dependsOn": ["numpy==1", "pyad-edge==1"]},
            {"ref": "numpy==1"},
            {"ref": "pyad-edge==1", "dependsOn": ["numpy==1"]},
        ],
    }
    bill = merge(environment, wheel_bill(tmp_path, pybind11="3.1.0", cuda=""))
    validate(json.dumps(bill))
    assert [c["name"] for c in bill["components"]] == ["numpy", "pybind11", "edge18"]
    assert bill["dependencies"][0]["dependsOn"] == ["edge18", "numpy==1", "pybind11"]
    refs = {c["bom-ref"] for c in bill["components"]} | {"root-component"}
    assert {d["ref"] for d in bill["dependencies"]} == refs


def test_what_is_no_bill_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bill = wheel_bill(tmp_path, pybind11="", cuda="")
    for change in ({"bomFormat": "SPDX"}, {"components": [{"name": "typeless"}]}, {"extra": 1}):
        with pytest.raises(SbomError, match=r"no CycloneDX 1\.6"):
            validate(json.dumps(bill | change))
    assert sbom.main(["--python", str(tmp_path / "python"), "--out", str(tmp_path / "x")]) == 1
    assert "[sbom]" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


# SPDX identifiers that an Apache-2.0 product may depend on and be shipped beside.
ALLOWED = {
    "0BSD",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "CC0-1.0",
    "ISC",
    "MIT",
    "MIT-0",
    "MIT-CMU",
    "PSF-2.0",
    "Python-2.0",
    "Unlicense",
    "Zlib",
}
# As packages without an SPDX expression word it, in a classifier or the old field.
WORDED = {
    "Apache 2.0": "Apache-2.0",
    "Apache License, Version 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD-3-Clause",
    "BSD 3-Clause License": "BSD-3-Clause",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "3-Clause BSD License": "BSD-3-Clause",
    "BSD": "BSD-3-Clause",
}


def licences(package: Any) -> set[str]:
    """SPDX identifiers that a package states; what is not understood is returned as it stands."""
    expression = package.get("License-Expression")
    if expression is not None:
        return set(re.findall(r"[^\s()]+", expression)) - {"AND", "OR"}
    classifiers = package.get_all("Classifier") or []
    stated = [c.rsplit(" :: ", 1)[1] for c in classifiers if c.startswith("License ::")]
    stated = [one for one in stated if one != "OSI Approved"]
    text = package.get("License") or "none stated"
    return {WORDED.get(one, one) for one in stated or [text.splitlines()[0]]}


def closure(name: str) -> dict[str, metadata.Distribution]:
    """A package's dependencies without extras, and theirs; installed here."""
    found: dict[str, metadata.Distribution] = {}
    waiting = [Requirement(name)]
    while waiting:
        wanted = waiting.pop()
        key = canonicalize_name(wanted.name)
        if key in found:
            continue
        found[key] = metadata.distribution(wanted.name)
        for text in found[key].requires or ():
            needed = Requirement(text)
            extras = [*wanted.extras, ""]
            if needed.marker is None or any(needed.marker.evaluate({"extra": e}) for e in extras):
                waiting.append(needed)
    return found


def test_licences_of_the_runtime_are_known_and_allowed() -> None:
    needed = closure("pyad_edge")
    assert {"numpy", "onnxruntime", "pydantic-core", "typer"} <= set(needed)
    assert not {"torch", "pytest"} & set(needed)
    wrong = {
        name: sorted(licences(package.metadata) - ALLOWED)
        for name, package in needed.items()
        if licences(package.metadata) - ALLOWED
    }
    assert not wrong, f"look at these before they are allowed: {wrong}"


def test_a_licence_that_is_not_on_the_list_is_found() -> None:
    package = Message()
    package["License-Expression"] = "MIT AND (GPL-3.0-only OR Apache-2.0)"
    assert licences(package) - ALLOWED == {"GPL-3.0-only"}
    del package["License-Expression"]
    assert licences(package) - ALLOWED == {"none stated"}
    package["License"] = "Proprietary"
    assert licences(package) - ALLOWED == {"Proprietary"}


def test_the_page_names_every_dependency() -> None:
    page = (ROOT / "THIRD_PARTY.md").read_text()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    shipped = [
        text for name, texts in extras.items() if name not in ("dev", "docs") for text in texts
    ]
    names = {Requirement(text).name for text in project["dependencies"] + shipped}
    missing = {name for name in names if f"`{name}`" not in page}
    assert not missing, f"THIRD_PARTY.md does not name {', '.join(sorted(missing))}"
