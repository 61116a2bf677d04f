"""What a wheel for 64-bit Arm has to be: machine, names, instruction sets, age of the libraries."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any

from elftools.elf.elffile import ELFFile

__all__ = ["MODULE", "TAG", "WheelError", "examine_module", "examine_wheel"]

# glibc 2.35 and libstdc++ of GCC 12: Ubuntu 22.04, that is JetPack 6, and everything newer.
TAG = "manylinux_2_35_aarch64"
MODULE = f"_native.cpython-3{sys.version_info.minor}-aarch64-linux-gnu.so"


class WheelError(Exception):
    """A wheel that is not what it has to be, or could not be built."""


def examine_wheel(wheel: Path) -> list[str]:
    """Check a wheel.

    Returns:
        Lines that say what was found.

    Raises:
        WheelError: at the first thing that is wrong.
    """
    with zipfile.ZipFile(wheel) as archive:
        modules = [name for name in archive.namelist() if name.endswith(".so")]
        if modules != [f"pyad_edge/{MODULE}"]:
            raise WheelError(
                f"[aarch64] expected the one module pyad_edge/{MODULE}, got {modules}."
            )
        content = archive.read(modules[0])
    found = examine_module(content)
    shown = subprocess.run(
        [sys.executable, "-m", "auditwheel", "show", "--json", str(wheel)],
        capture_output=True,
        text=True,
        check=False,
    )
    if shown.returncode != 0:
        raise WheelError(f"[aarch64] auditwheel cannot read {wheel.name}: {shown.stderr.strip()}")
    tag = str(json.loads(shown.stdout)["overall_tag"])
    if _glibc(tag) > _glibc(TAG):
        raise WheelError(
            f"[aarch64] the wheel needs libraries of {tag}, expected {TAG} or older. Build it with "
            "an older compiler: GCC 12 of Debian 12 gives that."
        )
    return [*found, f"libraries: {tag}, allowed up to {TAG}"]


def examine_module(content: bytes) -> list[str]:
    """Check the native module.

    Args:
        content: of the file.

    Returns:
        Lines that say what was found.

    Raises:
        WheelError: at the first thing that is wrong.
    """
    try:
        elf = ELFFile(BytesIO(content))
    except Exception as error:
        raise WheelError(f"[aarch64] {MODULE} is no ELF file: {error}") from error
    machine, kind = elf["e_machine"], elf["e_type"]
    if (elf.elfclass, machine, kind) != (64, "EM_AARCH64", "ET_DYN"):
        raise WheelError(
            "[aarch64] expected a 64-bit EM_AARCH64 shared object, got "
            f"{elf.elfclass}-bit {machine} {kind}."
        )
    symbols: Any = elf.get_section_by_name(".dynsym")
    text: Any = elf.get_section_by_name(".text")
    if symbols is None or text is None:
        raise WheelError("[aarch64] the module has no section .dynsym or .text.")
    exported = {s.name for s in symbols.iter_symbols() if s["st_shndx"] != "SHN_UNDEF"}
    if "PyInit__native" not in exported:
        raise WheelError("[aarch64] the module does not export PyInit__native.")
    dots = _dot_products(text.data())
    if dots == 0:
        raise WheelError(
            "[aarch64] the module holds no SDOT or UDOT instruction: the files *_neondot.cpp were "
            "compiled without their instruction set."
        )
    return [f"{MODULE}: 64-bit {machine}", f"levels: neon, neondot ({dots} dot products)"]


def _dot_products(text: bytes) -> int:
    """SDOT and UDOT (vector and by element) in machine code: 4-byte words, little-endian.

    Encodings of the Arm Architecture Reference Manual, C7.2.
    """
    count = 0
    for at in range(0, len(text) - 3, 4):
        word = int.from_bytes(text[at : at + 4], "little")
        vector = word & 0x9FE0FC00 == 0x0E809400
        element = word & 0x9FC0F400 == 0x0F80E000
        count += (vector or element) and word & 0x40000000 != 0
    return count


def _glibc(tag: str) -> tuple[int, int]:
    number = re.fullmatch(r"manylinux_(\d+)_(\d+)_aarch64", tag)
    if number is None:
        raise WheelError(f"[aarch64] expected a manylinux tag for aarch64, got {tag}.")
    return int(number[1]), int(number[2])
