"""How much memory a fit may use, decided before it starts."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from pyad_edge.errors import ResourceError, SettingError

__all__ = ["FREE_SHARE", "available_memory", "format_bytes", "memory_limit", "parse_bytes"]

FREE_SHARE = 0.6  # of what is free: the rest is for the system, the backbone and file caches
_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}


def available_memory(
    *, proc: Path = Path("/proc"), control_groups: Path = Path("/sys/fs/cgroup")
) -> int:
    """Bytes that can be used without swapping: of the machine, or of this container if less.

    Args:
        proc: where the kernel tells about memory and processes.
        control_groups: where it tells about limits; v2 directly, v1 in the folder ``memory``.

    Raises:
        ResourceError: if the system does not tell.
    """
    free = [*_free_in_control_groups(proc, control_groups)]
    machine = re.search(r"^MemAvailable:\s+(\d+) kB", _text(proc / "meminfo"), re.MULTILINE)
    try:
        free.append(
            int(machine.group(1)) * 1024
            if machine
            else os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        )
    except (AttributeError, ValueError, OSError):
        if not free:
            raise ResourceError(
                "[memory] this system does not tell how much memory is free. State a limit with "
                "--memory-limit, for example --memory-limit 4GB."
            ) from None
    return min(free)


def _free_in_control_groups(proc: Path, root: Path) -> Iterator[int]:
    """What each limit above this process leaves free; an outer group may be the tighter one."""
    for line in _text(proc / "self/cgroup").splitlines():
        _, controllers, path = (*line.split(":", 2), "", "")[:3]
        if controllers == "":
            yield from _free_above(root, path, "memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
            yield from _free_above(root / "memory", path, *names)


def _free_above(root: Path, path: str, limit: str, usage: str, cache: str) -> Iterator[int]:
    # Inside a container the path may be that of the host; what exists of it, and the root, count.
    own = PurePosixPath(*(part for part in PurePosixPath(path).parts if part not in ("/", "..")))
    for group in (own, *own.parents):
        most, used = _text(root / group / limit).strip(), _text(root / group / usage).strip()
        if most.isdecimal() and used.isdecimal():  # not "max", which is no limit
            # Cached file contents count as used, but give way, just as in MemAvailable.
            stat = _text(root / group / "memory.stat")
            found = re.search(rf"^{cache} (\d+)$", stat, re.MULTILINE)
            yield max(0, int(most) - int(used) + (int(found.group(1)) if found else 0))


def _text(path: Path) -> str:
    """Of a file that the kernel may not offer, or not to this user."""
    try:
        return path.read_text()
    except OSError:
        return ""


def memory_limit(stated: int | None) -> int:
    """The limit in bytes: the stated one, or a share of what is free."""
    return stated if stated is not None else int(FREE_SHARE * available_memory())


def parse_bytes(text: str) -> int:
    """``4GB``, ``500 MB``, ``2.5g`` or plain bytes.

    Raises:
        SettingError: if it is none of these.
    """
    match = re.fullmatch(r"\s*(\d{1,15}(?:\.\d{1,9})?)\s*([kmgt]?)i?b?\s*", text.lower())
    if not match or float(match.group(1)) <= 0:
        raise SettingError(f"[memory] expected an amount such as 4GB or 500MB, got '{text}'.")
    return int(float(match.group(1)) * _UNITS[match.group(2)])


def format_bytes(count: float) -> str:
    """``1.2 GB``; decimal units."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count:.0f} bytes"
