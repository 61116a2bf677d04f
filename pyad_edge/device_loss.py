"""Errors after which a device answers nothing any more until a new process is started."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, Protocol, TypeVar

from pyad_edge.errors import DeviceLostError

__all__ = ["DeviceWatch", "fatal_text", "watched"]

# Errors of which CUDA's documentation says that the process must be terminated and started again:
# texts of cudaGetErrorString, names of the runtime and driver, numbers in ONNX Runtime's "CUDA
# failure 700"; and a card that is gone.
_FATAL = re.compile(
    r"illegal memory access|illegal instruction|misaligned address|invalid program counter"
    r"|unspecified launch failure|launch timed out|device-side assert|hardware stack error"
    r"|uncorrectable (?:ECC|NVLink) error|global/shared address space|context is destroyed"
    r"|GPU is lost|fallen off the bus"
    r"|cudaError(?:IllegalAddress|IllegalInstruction|MisalignedAddress|InvalidPc|LaunchFailure"
    r"|LaunchTimeout|Assert|HardwareStackError|ECCUncorrectable|NvlinkUncorrectable"
    r"|InvalidAddressSpace|ContextIsDestroyed)"
    r"|CUDA_ERROR_(?:ILLEGAL_ADDRESS|ILLEGAL_INSTRUCTION|MISALIGNED_ADDRESS|INVALID_PC"
    r"|LAUNCH_FAILED|LAUNCH_TIMEOUT|ASSERT|HARDWARE_STACK_ERROR|ECC_UNCORRECTABLE"
    r"|NVLINK_UNCORRECTABLE|INVALID_ADDRESS_SPACE|CONTEXT_IS_DESTROYED)"
    r"|CUDA failure (?:214|220|70[02]|709|71[0-9])\b",
    re.IGNORECASE,
)
_SHOWN = 300  # characters of a library's message


def fatal_text(error: BaseException | None) -> str | None:
    """The message that says so, in the error or in what caused it; None where none does."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if not isinstance(error, DeviceLostError) and _FATAL.search(str(error)):
            return " ".join(str(error).split())[:_SHOWN].rstrip(".")
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return None


class DeviceWatch:
    """Remembers that the device was lost: from then on nothing is tried on it. Thread-safe.

    Attributes:
        lost: why; None while the device is well.
    """

    def __init__(self) -> None:
        self.lost: DeviceLostError | None = None

    def require(self) -> None:
        """Raises:
        DeviceLostError: if the device was lost.
        """
        if self.lost is not None:
            raise DeviceLostError(str(self.lost))

    def examine(self, error: Exception) -> None:
        """Look at what a call raised.

        Raises:
            DeviceLostError: if it says that the device is lost.
        """
        text = fatal_text(error)
        if text is None:
            return
        self.lost = self.lost or DeviceLostError(
            f"[infer] the device is lost: {text}. Only a new process can use it again: nothing "
            "more is inspected here, and every frame counts as a fault. Start the program again."
        )
        raise DeviceLostError(str(self.lost)) from error


class _Watching(Protocol):
    @property
    def device_watch(self) -> DeviceWatch: ...


P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S", bound=_Watching)


def watched(method: Callable[Concatenate[S, P], R]) -> Callable[Concatenate[S, P], R]:
    """A method that uses the device: not called once it is lost, and heard when it is."""

    @wraps(method)
    def call(self: S, /, *args: P.args, **settings: P.kwargs) -> R:
        self.device_watch.require()
        try:
            return method(self, *args, **settings)
        except Exception as error:
            self.device_watch.examine(error)
            raise

    return call
