"""What several backends share: checks of batches and settings, metadata, optional packages."""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyad_edge.backends.base import Float32
from pyad_edge.errors import BackendError, ResourceError, SettingError
from pyad_edge.ops._checks import whole_number
from pyad_edge.ops.threads import MAX_THREADS

__all__ = [
    "METADATA_KEY",
    "Shape",
    "batch_shape",
    "check_batch",
    "check_precision",
    "installed_version",
    "planned",
    "read_metadata",
    "require_package",
    "run_error",
    "thread_count",
    "usable_cores",
]

METADATA_KEY = "pyad_edge.backbone"
MAX_BATCH = 4096
_ALIGNMENT = 64  # bytes: a cache line, and the widest vector

Shape = tuple[int | None, int | None, int | None, int | None]


def usable_cores() -> int:
    """Cores that this process may run on (an affinity mask or `taskset` counts)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def thread_count(op: str, threads: Any) -> int:
    """The setting, or all usable cores where there is none.

    Raises:
        SettingError: if it is no whole number from 1 to 1024.
    """
    if threads is None:
        return min(usable_cores(), MAX_THREADS)
    try:
        return whole_number(op, "threads", threads, 1, MAX_THREADS)
    except (TypeError, ValueError) as error:
        raise SettingError(f"{error} Leave the setting out to use all cores.") from error


def check_precision(op: str, precision: str, offered: Sequence[str], *, where: str) -> None:
    """Raises:
    SettingError: if a precision is not offered there.
    """
    if precision not in offered:
        raise SettingError(
            f"[{op}] expected a precision that {where} offers ({', '.join(offered)}), got "
            f"{precision!r}. Choose one of these, or another backend; `pyad-edge doctor` lists "
            "what each offers here."
        )


def require_package(name: str, *, extra: str, op: str) -> Any:
    """Import an optional package.

    Raises:
        BackendError: if it is missing or does not load.
    """
    try:
        return importlib.import_module(name)
    except (ImportError, OSError) as error:  # OSError: a library of its own that does not load
        raise BackendError(
            f"[{op}] needs the package {name.split('.')[0]}, which does not import ({error}). "
            f"Install it with `pip install 'pyad_edge[{extra}]'`."
        ) from error


def installed_version(name: str, *distributions: str) -> str | None:
    """The version of a package that can be found; None where there is none. Imports nothing.

    Args:
        name: of the module.
        distributions: that may have brought it, in the order to ask; the module's name if none.
    """
    try:
        if importlib.util.find_spec(name) is None:
            return None
    except (ImportError, ValueError):  # something in the way of importing it
        return None
    for distribution in distributions or (name,):
        try:
            return version(distribution)
        except PackageNotFoundError:
            continue
    return "version unknown"


def check_batch(op: str, batch: Float32, shape: Shape) -> None:
    """Raises:
    BackendError: if a batch is not float32 or does not fit the network's input.
    """
    if batch.dtype != np.float32:
        raise BackendError(
            f"[{op}] expected a batch of float32, got {batch.dtype}. Pass pictures through "
            "`pyad_edge.ops.preprocess` first."
        )
    fits = batch.ndim == 4 and all(
        got > 0 and size in (None, got) for size, got in zip(shape, batch.shape, strict=True)
    )
    if not fits:
        raise BackendError(
            f"[{op}] expected a batch of shape {_shown(shape)}, got {batch.shape}. Was the engine "
            "exported with another size or backbone?"
        )


def batch_shape(
    op: str, batch: int, input_size: tuple[int, int] | None, shape: Shape
) -> tuple[int, int, int, int]:
    """(N, 3, H, W) of a session.

    Args:
        op: name for error messages.
        batch: N.
        input_size: (H, W) that the backend was opened with; none: that of the network.
        shape: as the network declares it; None where any size will do.

    Raises:
        BackendError: if the network does not take that, or the size is nowhere said.
    """
    try:
        n = whole_number(op, "batch", batch, 1, MAX_BATCH)
    except (TypeError, ValueError) as error:
        raise BackendError(f"{error} Run fewer pictures at once.") from error
    height, width = input_size or shape[2:]
    if height is None or width is None:
        raise BackendError(
            f"[{op}] cannot plan a session for a network of any size {_shown(shape)}. Open the "
            "backend with `input_size=(height, width)`."
        )
    wanted = (n, 3, height, width)
    if any(size not in (None, got) for size, got in zip(shape, wanted, strict=True)):
        raise BackendError(
            f"[{op}] expected a session of shape {_shown(shape)}, got {wanted}. Was the engine "
            "exported with another size or for another batch?"
        )
    return wanted


def planned(shape: tuple[int, ...], dtype: type[np.generic] = np.float32) -> NDArray[Any]:
    """A C-contiguous array of zeros that starts on a cache line."""
    count, size = int(np.prod(shape)), np.dtype(dtype).itemsize
    raw = np.zeros(count + _ALIGNMENT // size, dtype)
    offset = -raw.ctypes.data % _ALIGNMENT // size
    return raw[offset : offset + count].reshape(shape)


def run_error(op: str, shape: tuple[int, ...], text: str) -> BackendError | ResourceError:
    """What to raise when a run failed with that text."""
    if "alloc" in text.lower() or "out of memory" in text.lower():
        return ResourceError(
            f"[{op}] not enough memory for a batch of shape {shape}: {text}. Use fewer pictures "
            "at once or a smaller size."
        )
    return BackendError(
        f"[{op}] the network failed on a batch of shape {shape}: {text}. Is the picture too small "
        "for this backbone?"
    )


def read_metadata(op: str, text: str | None) -> dict[str, Any]:
    """What a model says under `pyad_edge.backbone`; empty where it says nothing.

    Raises:
        BackendError: if that is no JSON object.
    """
    if text is None:
        return {}
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise BackendError(
            f"[{op}] the model's entry {METADATA_KEY!r} is not a JSON object: "
            f"{str(text)[:80]!r}. Write the file again with `pyad-edge backbone export`."
        )
    return found


def _shown(shape: Shape) -> str:
    sizes = (str(size or "NCHW"[axis]) for axis, size in enumerate(shape))
    return f"({', '.join(sizes)})"
