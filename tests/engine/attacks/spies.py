"""Spies in place of every native parser that an engine's bytes could reach."""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field
from typing import Any

import pytest

__all__ = ["Spies", "native_parsers"]

PARSERS = (
    "onnxruntime.InferenceSession",
    "openvino.Core",
    "onnx.load_model_from_string",
    "onnx.load_from_string",
    "safetensors.safe_open",
    "safetensors.deserialize",
    "safetensors.numpy.load",
    "faiss.deserialize_index",
    "tensorrt_rtx.OnnxParser",
    "tensorrt_rtx.Runtime",
    "PIL.Image.open",
    "cv2.imdecode",
)


@dataclass
class Spies:
    """Names of the parsers that were called, in order."""

    calls: list[str] = field(default_factory=list)


def native_parsers(monkeypatch: pytest.MonkeyPatch) -> Spies:
    """Exchange every parser that is installed; one that is called is noted and fails."""
    spies = Spies()
    for path in PARSERS:
        module, _, name = path.rpartition(".")
        try:
            found = importlib.import_module(module)
        except ImportError:
            continue

        def spy(*_: Any, _path: str = path, **__: Any) -> Any:
            spies.calls.append(_path)
            raise RuntimeError(f"{_path} was called")

        monkeypatch.setattr(found, name, spy)
    return spies
