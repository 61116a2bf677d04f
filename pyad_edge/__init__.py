"""pyad_edge: visual anomaly detection for camera loops.

    runtime = pyad_edge.Runtime("part.pyad")
    result = runtime.infer(frame)

A frame is a uint8 array, (H, W, 3) RGB, or (H, W) or (H, W, 1) mono; a result has a score, a
verdict and a map.
"""

from importlib.metadata import version

from pyad_edge.engine import Engine, read_engine
from pyad_edge.errors import (
    BackendError,
    DataError,
    DeviceLostError,
    EngineError,
    PyadError,
    ResourceError,
    SettingError,
)
from pyad_edge.images import read_image
from pyad_edge.result import Decision, Nearest, Region, Result, Verdict
from pyad_edge.runtime import Runtime

__version__ = version("pyad_edge")

__all__ = [
    "BackendError",
    "DataError",
    "Decision",
    "DeviceLostError",
    "Engine",
    "EngineError",
    "Nearest",
    "PyadError",
    "Region",
    "ResourceError",
    "Result",
    "Runtime",
    "SettingError",
    "Verdict",
    "__version__",
    "read_engine",
    "read_image",
]
