"""Inference backends: each runs a network and does nothing else."""

from __future__ import annotations

from pyad_edge.backends.base import Backend
from pyad_edge.backends.onnxruntime import OnnxRuntimeBackend

__all__ = ["Backend", "OnnxRuntimeBackend"]
