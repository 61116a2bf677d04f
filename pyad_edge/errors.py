"""Errors that a user can act on; each carries the exit code of the command line."""

from __future__ import annotations

__all__ = [
    "BackendError",
    "DataError",
    "DeviceLostError",
    "EngineError",
    "PyadError",
    "ResourceError",
    "SettingError",
]


class PyadError(Exception):
    """Base of all errors that pyad_edge raises on purpose. The message is a whole sentence."""

    exit_code = 1


class SettingError(PyadError, ValueError):
    """An option or argument has a value that cannot be used (exit code 2)."""

    exit_code = 2


class DataError(PyadError):
    """Pictures or folders that cannot be used (exit code 3)."""

    exit_code = 3


class EngineError(PyadError):
    """An engine file that is broken, foreign, too new or drifts from its scores (exit code 4)."""

    exit_code = 4


class BackendError(PyadError):
    """A backbone or inference backend that cannot do what was asked (exit code 5)."""

    exit_code = 5


class DeviceLostError(BackendError):
    """A device that only a new process can use again (exit code 8)."""

    exit_code = 8


class ResourceError(PyadError):
    """Not enough memory or disk (exit code 6)."""

    exit_code = 6
