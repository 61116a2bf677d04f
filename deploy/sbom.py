"""Writes what a runtime consists of as CycloneDX 1.6: the environment's packages and native parts.

    make sbom
    python deploy/sbom.py --python VENV/bin/python --out pyad_edge.cdx.json

The packages are those that are installed for that Python (cyclonedx-bom lists them); the native
parts come from the bill that the build has put into the wheel (``.dist-info/sboms``, PEP 770).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

ROOT = Path(__file__).resolve().parents[1]
_FIND = """
import importlib.metadata, sys
for path in importlib.metadata.files("pyad_edge") or ():
    if path.match("*.dist-info/sboms/*.json"):
        sys.stdout.write(path.read_text(encoding="utf-8"))
"""


class SbomError(Exception):
    """A bill of materials that could not be written."""


def main(arguments: list[str] | None = None) -> int:
    """Write and validate; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", default=sys.executable, help="of the environment to describe")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args(arguments)
    try:
        bill = merge(packages(options.python), native_parts(options.python))
        text = json.dumps(bill, indent=2) + "\n"
        validate(text)
    except SbomError as error:
        print(error, file=sys.stderr)
        return 1
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(text, "utf-8")
    print(f"{options.out}: {len(bill['components'])} components")
    return 0


def packages(python: str) -> dict[str, Any]:
    """The environment's packages, with pyad_edge as the main component."""
    command = [sys.executable, "-m", "cyclonedx_py", "environment", "--spec-version", "1.6"]
    command += ["--output-reproducible", "--pyproject", str(ROOT / "pyproject.toml"), python]
    found: dict[str, Any] = json.loads(_output(command))
    return found


def native_parts(python: str) -> dict[str, Any]:
    """The bill inside the installed wheel.

    Raises:
        SbomError: if pyad_edge is not installed for that Python, or was built without its bill.
    """
    text = _output([python, "-c", _FIND])
    if not text:
        raise SbomError(
            f"[sbom] the pyad_edge of {python} carries no bill of materials. Install it from a "
            "wheel of this version."
        )
    found: dict[str, Any] = json.loads(text)
    return found


def merge(environment: dict[str, Any], wheel: dict[str, Any]) -> dict[str, Any]:
    """One bill: the wheel's native parts become components that the main component depends on."""
    main_ref = environment["metadata"]["component"]["bom-ref"]
    parts = wheel["components"]
    own = [c for c in environment["components"] if c["name"].replace("-", "_") != "pyad_edge"]
    refs = {c["bom-ref"] for c in own} | {main_ref}
    dependencies = [d for d in environment["dependencies"] if d["ref"] in refs]
    for entry in dependencies:
        if "dependsOn" in entry:
            entry["dependsOn"] = [ref for ref in entry["dependsOn"] if ref in refs]
    (mine,) = (d for d in dependencies if d["ref"] == main_ref)
    mine["dependsOn"] = sorted([*mine.get("dependsOn", []), *(p["bom-ref"] for p in parts)])
    dependencies += [{"ref": part["bom-ref"]} for part in parts]
    return environment | {"components": own + parts, "dependencies": dependencies}


def validate(text: str) -> None:
    """Hold a bill against the schema of CycloneDX 1.6.

    Raises:
        SbomError: where it departs.
    """
    error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    if error is not None:
        raise SbomError(f"[sbom] this is no CycloneDX 1.6: {error}")


def _output(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise SbomError(f"[sbom] {command[0]} cannot be started: {error.strerror}.") from error
    if done.returncode != 0:
        raise SbomError(f"[sbom] {' '.join(command[:4])} failed:\n{done.stderr.strip()}")
    return done.stdout


if __name__ == "__main__":
    raise SystemExit(main())
