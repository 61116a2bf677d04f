"""TensorRT for RTX: plans are built in a second on any machine and compiled where they run."""

from __future__ import annotations

from typing import Any, ClassVar

from pyad_edge.backends.tensorrt import TensorRtBackend, examined

__all__ = ["TensorRtRtxBackend", "examine"]


class TensorRtRtxBackend(TensorRtBackend):
    """As :class:`~pyad_edge.backends.tensorrt.TensorRtBackend`, for GeForce and RTX devices."""

    name: ClassVar[str] = "tensorrt-rtx"
    package: ClassVar[str] = "tensorrt_rtx"
    keeps_timings: ClassVar[bool] = False  # its kernels are compiled and chosen where they run


def examine() -> dict[str, Any]:
    """Whether TensorRT for RTX can be used here."""
    return examined("tensorrt-rtx", "tensorrt_rtx", "tensorrt-rtx", "tensorrt_rtx")
