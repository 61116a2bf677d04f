"""The whole pipeline as a graph: ``--to onnx`` and ``--to openvino``, and what Triton serves."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from pyad_edge.backends.openvino_core import load_openvino, openvino_core
from pyad_edge.backends.openvino_model import let_nan_through
from pyad_edge.engine import Engine
from pyad_edge.errors import BackendError
from pyad_edge.export.targets.built import Built
from pyad_edge.export.targets.forms import OnnxForm, OpenVinoForm
from pyad_edge.export.targets.networks import lower_networks, quantised
from pyad_edge.export.targets.settings import ExportSettings

__all__ = ["build_onnx", "build_openvino", "pipeline_graph"]


def pipeline_graph(engine: Engine, settings: ExportSettings) -> Any:
    """The engine's pipeline as ``onnx.ModelProto``, its networks in the precision asked for.

    Raises:
        BackendError: if a network cannot be rewritten or put into a graph.
        DataError: if the pictures for int8 cannot be read.
        SettingError: if something of the engine has no form in a graph.
    """
    from pyad_edge.export.targets.onnx_pipeline import PipelineSettings, build_pipeline

    if settings.precision == "int8":
        engine = quantised(engine, calibration=settings.calibration)
    graph = build_pipeline(
        engine,
        settings=PipelineSettings(frame_size=settings.frame_size, batch=settings.batch),
    )
    if settings.precision in ("fp16", "bf16"):
        lower_networks(graph, settings.precision)
    return graph


def build_onnx(engine: Engine, settings: ExportSettings, *, threads: int | None) -> Built:
    """One ONNX file; see :func:`pipeline_graph`."""
    graph = pipeline_graph(engine, settings)
    content = bytes(graph.SerializeToString())
    return Built(
        files={"": content},
        folder=False,
        frame_size=frame_size_of(graph),
        open=lambda: OnnxForm(content, threads=threads),
    )


def build_openvino(engine: Engine, settings: ExportSettings, *, threads: int | None) -> Built:
    """OpenVINO's IR, a description and its weights.

    What was lowered to bf16 is computed in bf16 where the processor has it; all else must stay
    float32, which OpenVINO has to be told.

    Raises:
        BackendError: if OpenVINO is missing or does not read the graph; else as
            :func:`pipeline_graph`.
    """
    ov = load_openvino()
    graph = pipeline_graph(engine, settings)
    try:
        model = openvino_core().read_model(graph.SerializeToString())
    except Exception as error:  # RuntimeError, and what its parsers raise
        raise BackendError(
            f"[export] openvino {ov.__version__} cannot read the graph: "
            f"{str(error).strip().splitlines()[-1][:300]}. Use --to onnx."
        ) from error
    if settings.precision != "int8":  # 8 bits hold no NaN: what does not fit saturates
        let_nan_through(model)
    with tempfile.TemporaryDirectory(prefix="pyad_edge-") as folder:
        path = Path(folder) / "export.xml"
        ov.save_model(model, path, compress_to_fp16=False)
        description, weights = path.read_bytes(), path.with_suffix(".bin").read_bytes()
    threshold = _threshold(graph)
    return Built(
        files={".bin": weights, ".xml": description},  # the description names the weights: last
        folder=False,
        frame_size=frame_size_of(graph),
        open=lambda: OpenVinoForm(description, weights, threads=threads),
        notes=(
            "OpenVINO takes bf16 for everything where the processor has it: compile the model with "
            '{"INFERENCE_PRECISION_HINT": "f32"}, which leaves the network in '
            f"{settings.precision}, or scores change. The threshold {threshold:.6g} is inside.",
        ),
        about={"compile_with": {"INFERENCE_PRECISION_HINT": "f32"}},
    )


def frame_size_of(graph: Any) -> tuple[int, int]:
    """(H, W) of a pipeline's frames."""
    dimensions = graph.graph.input[0].type.tensor_type.shape.dim
    return int(dimensions[1].dim_value), int(dimensions[2].dim_value)


def _threshold(graph: Any) -> float:
    from onnx import numpy_helper

    from pyad_edge.export.targets.onnx_pipeline.build import THRESHOLD

    (value,) = (tensor for tensor in graph.graph.initializer if tensor.name == THRESHOLD)
    return float(numpy_helper.to_array(value))
