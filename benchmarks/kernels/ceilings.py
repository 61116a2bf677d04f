"""What limits a kernel on this machine, measured in the run that divides by it.

Names: ``fma`` (float32 multiply-adds of the level in use), ``fma.avx512`` and the like (of one
instruction set), ``int8.avx512vnni``, ``int8.amx``, ``bf16.amx`` (peaks of an instruction, on
registers alone), and ``read`` or ``copy`` (memory, with a working set of the case's size). All use
the kernels' threads.
"""

from __future__ import annotations

from pyad_edge import ops
from pyad_edge.ops._native import native


def peak(level: str, arithmetic: str = "float32") -> str:
    """Name of what bounds products of a level: float32, bfloat16 or int8 ones."""
    if arithmetic == "float32":
        for instructions in ("avx512", "avx2"):
            if level.startswith(instructions):
                return f"fma.{instructions}"
        return "fma.portable"
    instructions = "amx" if level.endswith("amx") else level
    return f"{'bf16' if arithmetic == 'bfloat16' else 'int8'}.{instructions}"


class Ceilings:
    """Measures each ceiling once.

    Attributes:
        found: 10^9 operations or bytes a second, by name.
    """

    def __init__(self) -> None:
        self.found: dict[str, float] = {}
        self._known = set(native.peak_names())

    def of(self, name: str, moved: float | None = None) -> tuple[str, float] | None:
        """Measure again, and keep the best so far: a busy moment must not lower a bound.

        Args:
            name: see above.
            moved: bytes, for ``read`` and ``copy``: rounded up to a power of two, at least 1 MB.

        Returns:
            full name (``copy, 4 MB``) and giga-operations or gigabytes a second; None where this
            machine has no such ceiling.
        """
        if name == "fma":
            name = peak(ops.cpu_level())
        if name in ("read", "copy"):
            size = 1 << 20
            while size < (moved or 0):
                size *= 2
            rate = native.read_rate if name == "read" else native.copy_rate
            name, value = f"{name}, {size >> 20} MB", rate(size)
        elif name in self._known:
            value = native.peak_rate(name)
        else:
            return None
        self.found[name] = max(self.found.get(name, 0.0), float(value) / 1e9)
        return name, self.found[name]
