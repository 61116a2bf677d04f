"""Inference backends: each runs a network and does nothing else."""

from __future__ import annotations

import os

# From 1.29 on ONNX Runtime tells Microsoft which networks it loads and how it runs, unless this is
# set before it is imported for the first time; it also keeps a database in ~/.cache/Microsoft.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

from pyad_edge.backends.base import Backend
from pyad_edge.backends.onnxruntime import OnnxRuntimeBackend

__all__ = ["Backend", "OnnxRuntimeBackend"]
