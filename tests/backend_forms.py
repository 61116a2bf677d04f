"""Tiny networks on every backend of the CPU."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tiny_models import tiny_backbone

from pyad_edge.backends import Backend
from pyad_edge.backends.registry import examine_backends, open_backend

LAYERS = ("layer2", "layer3")
SIZE = (48, 64)
MODEL = tiny_backbone((16, 32))


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32)


def opened(backend: str, precision: str = "fp32", **settings: Any) -> Backend:
    if backend == "openvino":
        pytest.importorskip("openvino")
        offered = {entry["name"]: entry["precisions"] for entry in examine_backends()}
        if precision not in offered["openvino"]:
            pytest.skip(f"this processor is not fast in {precision}")
    if precision == "int8":
        settings.setdefault("calibration", noise(4, 3, *SIZE))
    chosen = {"outputs": LAYERS, "input_size": SIZE, **settings}
    return open_backend(backend, MODEL, precision=precision, **chosen)
