"""How much memory a fit may use, decided before it starts."""

from __future__ import annotations

import os
import re
from pathlib import Path

from pyad_edge.errors import ResourceError, SettingError

__all__ = ["FREE_SHARE", "available_memory", "format_bytes", "memory_limit", "parse_bytes"]

FREE_SHARE = 0.6  # of what is free: the rest is for the system, the backbone and file caches
_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}


def available_memory() -> int:
    """Bytes that can be used without swapping, as the system estimates it.

    Raises:
        ResourceError: if the system does not tell.
    """
    info = Path("/proc/meminfo")
    if info.is_file():
        match = re.search(r"^MemAvailable:\s+(\d+) kB", info.read_text(), re.MULTILINE)
        if match:
            return int(match.group(1)) * 1024
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        raise ResourceError(
            "[memory] this system does not tell how much memory is free. State a limit with "
            "--memory-limit, for example --memory-limit 4GB."
        ) from None


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
