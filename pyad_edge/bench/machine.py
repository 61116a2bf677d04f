"""What a figure means nothing without: processor, versions, threads, load."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from pyad_edge.ops import cpu_level, num_threads

__all__ = ["about_machine", "load"]

PACKAGES = (
    "pyad_edge", "numpy", "onnxruntime", "onnxruntime-gpu", "openvino", "torch", "tensorrt",
    "tensorrt-rtx", "opencv-python-headless", "mlcommons-loadgen",
)  # fmt: skip
MODEL = Path("/proc/device-tree/model")  # of boards such as Jetson


def about_machine() -> dict[str, Any]:
    """Processor, cores, kernels' level and threads, system and versions, as plain data."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return {
        "processor": _processor(),
        "board": MODEL.read_text().strip("\0\n") if MODEL.is_file() else None,
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "level": cpu_level(),
        "kernel_threads": num_threads(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "versions": versions,
    }


def load() -> float | None:
    """Processes that wanted a core during the last minute; None where the system does not tell.

    Above the number of cores, the machine was shared and absolute times mean little.
    """
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
