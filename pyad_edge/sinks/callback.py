"""A Python function as a sink."""

from __future__ import annotations

from collections.abc import Callable

from pyad_edge.streaming import Inspection

__all__ = ["CallbackSink"]


class CallbackSink:
    """Calls a function with every inspection, picture and map included.

    Args:
        function: what it raises is counted, and costs this inspection's call only.
    """

    def __init__(self, function: Callable[[Inspection], object]) -> None:
        self._function = function

    def write(self, inspection: Inspection) -> None:
        """Call the function."""
        self._function(inspection)

    def close(self) -> None:
        """Nothing to release."""
