"""The wheel for 64-bit Arm: what is refused, and the cross build where its compiler is there."""

from __future__ import annotations

import re
import shutil
import sys
import zipfile
from pathlib import Path

import pytest

pytest.importorskip("elftools", reason="pyelftools of the extra [dev] is not installed")
pytest.importorskip("auditwheel", reason="auditwheel of the extra [dev] is not installed")

import cross_build as aarch64
import emulate
import wheel_checks
from wheel_checks import MODULE, WheelError, examine_module, examine_wheel

from pyad_edge import _native


def test_the_module_of_this_machine_is_refused(tmp_path: Path) -> None:
    if "aarch64" in str(_native.__file__):
        pytest.skip("this machine is 64-bit Arm itself")
    content = Path(str(_native.__file__)).read_bytes()
    with pytest.raises(WheelError, match=r"expected a 64-bit EM_AARCH64 .* got 64-bit EM_X86_64"):
        examine_module(content)
    with pytest.raises(WheelError, match="is no ELF file"):
        examine_module(b"\x7fELF then nothing")
    wheel = tmp_path / "pyad_edge-0-cp311-cp311-linux_aarch64.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("pyad_edge/_native.cpython-311-x86_64-linux-gnu.so", content)
    with pytest.raises(WheelError, match=re.escape(f"the one module pyad_edge/{MODULE}")):
        examine_wheel(wheel)


def test_dot_products_are_counted_by_their_encoding() -> None:
    def words(*values: int) -> bytes:
        return b"".join(value.to_bytes(4, "little") for value in values)

    # As GNU objdump prints them: sdot v5.4s, v1.16b, v2.4b[0]; [1]; sdot v0.4s, v1.16b, v2.16b;
    # udot v0.4s, v1.16b, v2.16b; then fmul v0.4s, v1.4s, v2.4s, mul v0.4s, v1.4s, v2.4s and nop.
    dots = words(0x4F82E025, 0x4FA2E026, 0x4E829420, 0x6E829420)
    others = words(0x6E22DC20, 0x4EA29C20, 0xD503201F)
    assert wheel_checks._dot_products(dots) == 4
    assert wheel_checks._dot_products(others) == 0
    assert wheel_checks._dot_products(others + dots + others) == 4


def test_libraries_are_compared_by_their_number() -> None:
    assert wheel_checks._glibc("manylinux_2_5_aarch64") < wheel_checks._glibc(wheel_checks.TAG)
    with pytest.raises(WheelError, match="expected a manylinux tag for aarch64, got linux_aarch64"):
        wheel_checks._glibc("linux_aarch64")


def test_missing_tools_and_wheels_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if shutil.which("dpkg") and (
        shutil.which("qemu-aarch64") or shutil.which("qemu-aarch64-static")
    ):
        assert emulate.main(["--out", str(tmp_path)]) == 1
        assert "expected one wheel in" in capsys.readouterr().err
    monkeypatch.setenv("PATH", str(tmp_path))
    assert aarch64.main(["--out", str(tmp_path)]) == 1
    assert "apt-get install g++-aarch64-linux-gnu" in capsys.readouterr().err
    assert emulate.main(["--out", str(tmp_path)]) == 1
    assert "apt-get install qemu-user" in capsys.readouterr().err


@pytest.mark.slow
def test_the_wheel_is_cross_compiled_and_checked(tmp_path: Path) -> None:
    if shutil.which(aarch64.COMPILER) is None:
        pytest.skip("the cross compiler is not installed: apt-get install g++-aarch64-linux-gnu")
    out = aarch64.ROOT / "build" / "aarch64"  # kept: a later run compiles only what changed
    lines = aarch64.build(out)
    assert lines[0] == f"{MODULE}: 64-bit EM_AARCH64"
    assert re.fullmatch(r"levels: neon, neondot \([1-9]\d* dot products\)", lines[1])
    python = f"cp3{sys.version_info.minor}"
    wheel = Path(lines[-1])
    assert re.fullmatch(rf"pyad_edge-.+-{python}-{python}-{wheel_checks.TAG}\.whl", wheel.name)
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (record,) = (name for name in names if name.endswith("dist-info/WHEEL"))
        assert f"Tag: {python}-{python}-{wheel_checks.TAG}\n" in archive.read(record).decode()
    assert "pyad_edge/export/cli.py" in names
