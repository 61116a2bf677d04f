"""OpenVINO's package, and the one object of it that lives as long as the process."""

from __future__ import annotations

import sys
import threading
from typing import Any

from pyad_edge.backends._common import require_package

__all__ = ["load_openvino", "openvino_core"]

_TELEMETRY = "openvino_telemetry"
_importing = threading.Lock()
_cores: list[Any] = []


def openvino_core() -> Any:
    """The process's only Core.

    A Core that uses the CPU gives the thread that it is first used in a stack of its own for signal
    handlers, and takes that stack's memory back when it goes. Where it goes in another thread (the
    garbage collector's), the first thread keeps the address: the next signal, Ctrl-C say, ends the
    process with a segmentation fault. So no Core ever goes.

    Raises:
        BackendError: if OpenVINO is missing or does not load.
    """
    package = load_openvino()
    with _importing:
        if not _cores:
            _cores.append(package.Core())
        return _cores[0]


def load_openvino() -> Any:
    """The package, imported in silence.

    By itself the import reports the machine to Google Analytics and leaves files in ``~/intel``.
    Where the package that does it is not installed, OpenVINO does without: it is made to seem so.

    Raises:
        BackendError: if it is missing or does not load.
    """
    with _importing:
        hidden = "openvino" not in sys.modules and _TELEMETRY not in sys.modules
        if hidden:
            sys.modules[_TELEMETRY] = None  # type: ignore[assignment]
        try:
            return require_package("openvino", extra="openvino", op="openvino")
        finally:
            if hidden:
                del sys.modules[_TELEMETRY]
