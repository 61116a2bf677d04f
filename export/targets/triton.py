"""``--to triton``: a model of a Triton repository, with its configuration and warm-up."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np

from pyad_edge import __version__
from pyad_edge.calibration import threshold_for
from pyad_edge.engine import Engine
from pyad_edge.export.targets.built import Built
from pyad_edge.export.targets.forms import OnnxForm
from pyad_edge.export.targets.frames import golden_frames
from pyad_edge.export.targets.graph import frame_size_of, pipeline_graph
from pyad_edge.export.targets.settings import ExportSettings
from pyad_edge.runtime import Runtime

__all__ = ["build_triton", "model_name"]

# TensorProto's numbers by Triton's names.
_TYPES = {1: "TYPE_FP32", 2: "TYPE_UINT8", 4: "TYPE_UINT16", 7: "TYPE_INT64"}


def build_triton(runtime: Runtime, settings: ExportSettings, *, threads: int | None) -> Built:
    """A model's folder: ``config.pbtxt``, ``1/model.onnx``, ``warmup/golden``.

    The threshold is inside the graph: Triton's ONNX Runtime knows no inputs that may be left out.
    Clients that want another one compare the score themselves.

    Args:
        runtime: of the engine; its first golden frame warms the model up.
        settings: with this target.
        threads: of ONNX Runtime, when it is verified here.

    Raises:
        PyadError: as :func:`pyad_edge.export.targets.graph.pipeline_graph`.
    """
    engine = runtime.engine
    graph = pipeline_graph(engine, settings)
    content = bytes(graph.SerializeToString())
    # Where Triton batches, the frames of a warm-up are one request each.
    count = 1 if settings.batch is None else settings.batch
    golden = golden_frames(runtime, frame_size_of(graph))[0].values
    warmup = np.repeat(golden[None], count, axis=0).tobytes()
    config = _config(engine, settings, graph)
    return Built(
        files={"1/model.onnx": content, "warmup/golden": warmup, "config.pbtxt": config.encode()},
        folder=True,
        frame_size=frame_size_of(graph),
        open=lambda: OnnxForm(content, threads=threads),
        notes=(
            f"tritonserver --model-repository=FOLDER serves it as '{model_name(engine, settings)}' "
            f"on {settings.device}.",
        ),
    )


def model_name(engine: Engine, settings: ExportSettings) -> str:
    """Triton's name of the model: what was asked for, or that of the engine's file."""
    return settings.name or re.sub(r"[^A-Za-z0-9_-]+", "-", engine.path.stem).strip("-") or "engine"


def _config(engine: Engine, settings: ExportSettings, graph: Any) -> str:
    """The text of ``config.pbtxt``."""
    frame = graph.graph.input[0]
    batches = settings.batch is None
    lines = [
        f"name: {_quoted(model_name(engine, settings))}",
        'backend: "onnxruntime"',
        f"max_batch_size: {settings.max_batch if batches else 0}",
        f"input [ {_tensor(frame, batches)} ]",
        f"output [ {', '.join(_tensor(value, batches) for value in graph.graph.output)} ]",
        f"instance_group [ {{ count: 1, kind: KIND_{_KINDS[settings.device]} }} ]",
        *(["dynamic_batching { }"] if batches else []),
        f"model_warmup [ {_warmup(frame, batches)} ]",
        *(
            f"parameters {{ key: {_quoted(key)}, value {{ string_value: {_quoted(value)} }} }}"
            for key, value in _parameters(engine, settings).items()
        ),
    ]
    return "\n".join(lines) + "\n"


_KINDS = {"cpu": "CPU", "cuda": "GPU"}


def _parameters(engine: Engine, settings: ExportSettings) -> dict[str, str]:
    tensors, rate = engine.tensors, engine.manifest.threshold.false_reject
    limit = threshold_for(tensors["calibration/scores"], rate)
    return {
        "pyad_edge_engine_sha256": engine.file_sha256,
        "pyad_edge_method": engine.manifest.method,
        "pyad_edge_precision": settings.precision,
        "pyad_edge_threshold": repr(limit.value),
        "pyad_edge_map_threshold": repr(
            threshold_for(tensors["calibration/map_maxima"], rate).value
        ),
        "pyad_edge_threshold_policy": limit.statement(),
        "pyad_edge_verdicts": "0 OK, 1 NG, 2 FAULT",
        "pyad_edge_version": __version__,
    }


def _tensor(value: Any, batches: bool) -> str:
    kind = _TYPES[value.type.tensor_type.elem_type]
    dims = _dims(value, batches)
    # Triton's shapes have a side at least; the graph has one number a frame.
    shape = f"dims: {dims}" if dims else "dims: [ 1 ], reshape { shape: [ ] }"
    return f"{{ name: {_quoted(value.name)}, data_type: {kind}, {shape} }}"


def _dims(value: Any, batches: bool) -> list[int]:
    sides = [int(side.dim_value) for side in value.type.tensor_type.shape.dim]
    return sides[1:] if batches else sides  # the first one goes without saying where it batches


def _warmup(frame: Any, batches: bool) -> str:
    kind = _TYPES[frame.type.tensor_type.elem_type]
    given = f'data_type: {kind}, dims: {_dims(frame, batches)}, input_data_file: "golden"'
    return (
        f'{{ name: "golden", batch_size: 1, inputs {{ key: {_quoted(frame.name)}, '
        f"value {{ {given} }} }} }}"
    )


def _quoted(text: str) -> str:
    """A string of protobuf's text format, whose escapes JSON's are for ASCII."""
    return json.dumps(text.encode("ascii", "backslashreplace").decode())
