"""Threads and instruction-set level of the CPU kernels."""

from __future__ import annotations

from pyad_edge.ops._native import native

__all__ = ["available_cpu_levels", "cpu_level", "num_threads", "set_cpu_level", "set_num_threads"]


def num_threads() -> int:
    """Threads that the kernels use, the caller's included; starts as the number of usable cores."""
    return int(native.num_threads())


def set_num_threads(n: int) -> None:
    """Set the number of kernel threads for this process. Results never depend on it.

    Raises:
        ValueError: if ``n`` is not between 1 and 1024.
    """
    native.set_num_threads(n)


def cpu_level() -> str:
    """Instruction-set level in use: ``portable``, ``avx2``, ``avx512`` or ``avx512vnni``."""
    return str(native.cpu_level())


def available_cpu_levels() -> tuple[str, ...]:
    """Levels that this machine can run, lowest first."""
    return tuple(native.cpu_levels())


def set_cpu_level(name: str) -> None:
    """Force a level (the environment variable ``PYAD_CPU_LEVEL`` does the same at load).

    Raises:
        ValueError: if this machine cannot run that level.
    """
    native.set_cpu_level(name)
