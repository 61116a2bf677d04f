"""Threads and instruction-set level of the CPU kernels."""

from __future__ import annotations

from pyad_edge.errors import SettingError
from pyad_edge.ops._checks import whole_number
from pyad_edge.ops._native import native

__all__ = [
    "MAX_THREADS",
    "available_cpu_levels",
    "cpu_level",
    "has_bf16",
    "num_threads",
    "set_cpu_level",
    "set_num_threads",
]

MAX_THREADS = 1024


def num_threads() -> int:
    """Threads that the kernels use, the caller's included; starts as the number of usable cores."""
    return int(native.num_threads())


def set_num_threads(n: int) -> None:
    """Set the number of kernel threads for this process. Results never depend on it.

    Raises:
        TypeError: if ``n`` is no whole number.
        ValueError: if it is not between 1 and 1024.
    """
    native.set_num_threads(whole_number("set_num_threads", "n", n, 1, MAX_THREADS))


def cpu_level() -> str:
    """Instruction-set level in use: ``portable``, ``avx2``, ``avx2vnni``, ``avx512``,
    ``avx512vnni``, ``avx512amx``; on 64-bit Arm ``neon``, ``neondot``.

    Raises:
        SettingError: if the environment variable ``PYAD_CPU_LEVEL`` names none that runs here.
    """
    try:
        return str(native.cpu_level())
    except ValueError as error:  # the variable is read at the first use of a kernel
        raise SettingError(
            f"{error} Choose one of these, or unset PYAD_CPU_LEVEL for the fastest."
        ) from error


def available_cpu_levels() -> tuple[str, ...]:
    """Levels that this machine can run, lowest first."""
    return tuple(native.cpu_levels())


def has_bf16() -> bool:
    """Whether the level in use multiplies bfloat16 numbers on this processor (AVX512_BF16)."""
    return bool(native.has_bf16())


def set_cpu_level(name: str) -> None:
    """Force a level (the environment variable ``PYAD_CPU_LEVEL`` does the same at load).

    Raises:
        ValueError: if this machine cannot run that level.
    """
    native.set_cpu_level(name)
