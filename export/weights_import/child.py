"""The process that reads a foreign file: limits first, then tensors by name, nothing else.

    python -I -m pyad_edge.export.weights_import.child FILE.pth OUT.safetensors

Prints one JSON object: ``tensors``, ``bytes`` and ``dropped``, or ``refused`` with half a sentence.
Whoever starts it believes nothing of what comes out without looking.
"""

from __future__ import annotations

import json
import re
import resource
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["CPU_SECONDS", "MIN_TORCH", "flat_tensors", "main", "memory_limit"]

MIN_TORCH = (2, 10)  # older ones let some pickles run code in spite of weights_only
CPU_SECONDS = 600
_GIB = 1 << 30
_WRAPPERS = ("state_dict", "model")  # what publishers put the tensors under
_PREFIX = "module."  # of networks that were trained on several GPUs
_NAME = re.compile(r"[\w.\-/]{1,300}", re.ASCII)
_MAX_DEPTH = 3


class _RefusedError(Exception):
    """Half a sentence about the file."""


def memory_limit(file_bytes: int) -> int:
    """Bytes of address space: torch's own libraries, and the tensors a few times."""
    return 24 * _GIB + 6 * file_bytes


def main(source: str, target: str) -> dict[str, Any]:
    """Read one file, write the other; what to print comes back."""
    size = Path(source).stat().st_size
    for limit, value in (
        (resource.RLIMIT_CPU, CPU_SECONDS),
        (resource.RLIMIT_AS, memory_limit(size)),
        (resource.RLIMIT_FSIZE, 2 * size + (1 << 20)),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(limit)
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(limit, (value, value))
    try:
        return _convert(source, target)
    except _RefusedError as error:
        return {"refused": str(error)}
    except MemoryError:
        return {"refused": f"needs more than {memory_limit(size) / _GIB:.0f} GiB"}


def _convert(source: str, target: str) -> dict[str, Any]:
    import torch
    from safetensors.torch import save_file

    found = re.match(r"(\d+)\.(\d+)", torch.__version__)
    if found is None or (int(found[1]), int(found[2])) < MIN_TORCH:
        raise _RefusedError(
            f"is a pickle, and torch {torch.__version__} does not read those safely; version "
            f"{MIN_TORCH[0]}.{MIN_TORCH[1]} or newer does"
        )
    try:
        content = torch.load(source, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a broken or malicious file provokes
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise _RefusedError(f"holds more than tensors, or is damaged ({first[:160]})") from None
    tensors, dropped = flat_tensors(content)
    save_file(tensors, target)
    return {
        "tensors": len(tensors),
        "bytes": sum(t.numel() * t.element_size() for t in tensors.values()),
        "dropped": dropped,
    }


def flat_tensors(content: Any) -> tuple[dict[str, Any], list[str]]:
    """The tensors of a checkpoint by name, and the names of what lay beside them.

    Raises:
        _RefusedError: if there is anything but finite, dense tensors where the tensors are.
    """
    import torch

    dropped: list[str] = []
    for _ in range(_MAX_DEPTH):
        inner = [k for k in _WRAPPERS if isinstance(content, Mapping) and k in content]
        if not inner or not isinstance(content[inner[0]], Mapping):
            break
        dropped += [str(key)[:100] for key in content if key != inner[0]]
        content = content[inner[0]]
    if not isinstance(content, Mapping) or not content:
        raise _RefusedError(f"holds {type(content).__name__}, not tensors by name")
    names = [str(name) for name in content]
    if all(name.startswith(_PREFIX) for name in names):
        names = [name.removeprefix(_PREFIX) for name in names]
    tensors = {}
    for name, (key, value) in zip(names, content.items(), strict=True):
        if not isinstance(key, str) or not _NAME.fullmatch(name) or name in tensors:
            raise _RefusedError(f"has an entry with the unusable name {name[:100]!r}")
        if type(value) not in (torch.Tensor, torch.nn.Parameter):
            raise _RefusedError(f"has {type(value).__name__} for '{name}', not a tensor")
        if value.layout is not torch.strided or value.is_quantized or value.is_complex():
            raise _RefusedError(f"has a tensor '{name}' that is sparse, quantised or complex")
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise _RefusedError(f"holds NaN or infinity in '{name}'")
        tensors[name] = value.detach().clone(memory_format=torch.contiguous_format)
    return tensors, sorted(dropped)


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:])))
