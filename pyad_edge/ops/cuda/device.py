"""The compiled CUDA module, and why it cannot be used where it cannot."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pyad_edge.errors import BackendError

__all__ = ["device_count", "device_errors", "module", "require_device", "why_unavailable"]

MODULE = "pyad_edge._cuda"


def why_unavailable() -> str | None:
    """Why CUDA kernels cannot run here, in one sentence; None where they can."""
    try:
        count = _count()
    except BackendError as error:
        return str(error)
    if count == 0:
        return "[cuda] no CUDA device was found, or the driver is missing or too old."
    return None


def device_count() -> int:
    """CUDA devices that can be used; 0 where there is none.

    :func:`why_unavailable` tells a missing build, driver or device from a broken one.
    """
    try:
        return _count()
    except BackendError:
        return 0


def require_device() -> Any:
    """The compiled module, on a machine where it can be used.

    Raises:
        BackendError: if there is no CUDA build or no device, or the device does not answer.
    """
    if reason := why_unavailable():
        raise BackendError(reason)
    return module()


@contextmanager
def device_errors(what: str, way_out: str) -> Iterator[None]:
    """Turn a failure of the device inside the block into a BackendError.

    Args:
        what: what was tried, the subject of the sentence.
        way_out: what the user can do.
    """
    try:
        yield
    except RuntimeError as error:
        if isinstance(error, BackendError):
            raise
        raise BackendError(f"[cuda] {what} failed on the device: {error}. {way_out}") from error


def module() -> Any:
    """The compiled module.

    Raises:
        BackendError: if it was not built or does not load.
    """
    try:
        return importlib.import_module(MODULE)
    except ModuleNotFoundError as error:
        if error.name != MODULE:
            raise _does_not_load(error) from error
        raise BackendError(
            "[cuda] this installation was built without CUDA. Put nvcc on PATH and install from "
            "source with: pip install . --config-settings=cmake.define.PYAD_CUDA=ON"
        ) from error
    except ImportError as error:
        raise _does_not_load(error) from error


def _count() -> int:
    loaded = module()
    try:
        return int(loaded.device_count())
    except RuntimeError as error:
        raise BackendError(
            f"[cuda] the CUDA driver does not answer: {error}. Look at nvidia-smi; the CPU kernels "
            "work without it."
        ) from error


def _does_not_load(error: ImportError) -> BackendError:
    return BackendError(
        f"[cuda] the CUDA kernels are installed but do not load: {error}. Install the library that "
        "is named, or install pyad_edge again on this machine."
    )
