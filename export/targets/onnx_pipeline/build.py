"""From a verified engine to one ONNX graph that any runtime can run."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from pyad_edge import __version__
from pyad_edge.calibration import threshold_for
from pyad_edge.engine import Engine
from pyad_edge.errors import BackendError, SettingError
from pyad_edge.export.targets.onnx_pipeline.decision import decide, float32_limit, p_values
from pyad_edge.export.targets.onnx_pipeline.faults import Faults
from pyad_edge.export.targets.onnx_pipeline.frames import FrameInput, frame_size_of
from pyad_edge.export.targets.onnx_pipeline.graph import MAX_BYTES, GraphBuilder
from pyad_edge.export.targets.onnx_pipeline.members import Members
from pyad_edge.export.targets.onnx_pipeline.settings import PipelineSettings

__all__ = ["INPUT", "OUTPUTS", "THRESHOLD", "build_pipeline"]

INPUT, THRESHOLD = "frame", "threshold"
OUTPUTS = ("score", "anomaly_map", "verdict", "p_value")


def build_pipeline(engine: Engine, *, settings: PipelineSettings) -> Any:
    """An engine's whole pipeline as one graph of the standard operators ``ai.onnx``.

    Inputs: ``frame``, N frames as the engine takes them, (N, H, W, 3) uint8 as a rule; and
    ``threshold``, () float32, which may be left out: the engine's own is its default. Outputs:
    ``score`` (N,) float32; ``anomaly_map`` (N, H', W') float32; ``verdict`` (N,) int64, 0 for OK,
    1 for NG, 2 for FAULT; ``p_value`` (N,) float32. A frame whose values the engine's runtime
    would refuse has the score NaN and the verdict FAULT; its map means nothing.

    Scores are the runtime's up to rounding: sums run in another order. The same engine and settings
    give the same bytes. Nodes of the engine's networks are named ``network0/...`` and so on, in the
    order of the members, and ``refinement_network/...``; no others are.

    Args:
        engine: verified.
        settings: sizes of the graph.

    Returns:
        An ``onnx.ModelProto``, checked.

    Raises:
        SettingError: if something of the engine has no form in such a graph, or it would have 2 GB.
        BackendError: if a network of the engine has other operators, or takes another batch.
        DataError: if the engine's region of interest leaves nothing of such frames.
    """
    size = settings.frame_size or frame_size_of(engine)
    members = Members.of(engine, settings, size)
    graph = GraphBuilder(members.opset)
    faults = Faults(graph)
    scored = members.put_into(graph, INPUT, faults)
    faults.require(scored.image, [])
    nothing = graph.constant(np.array(np.nan, np.float32), "nan")
    names = dict(zip(("image", "maps", "verdict", "p_value"), OUTPUTS, strict=True))
    score = graph.op("Where", faults.sound(), scored.image, nothing, name=names["image"])
    graph.op("Identity", scored.maps, name=names["maps"])
    decide(graph, score, THRESHOLD, name=names["verdict"])
    p_values(graph, score, engine.tensors["calibration/scores"], name=names["p_value"])
    return _model(engine, settings, graph, members.frame, members.map_size)


def _model(
    engine: Engine,
    settings: PipelineSettings,
    graph: GraphBuilder,
    frame: FrameInput,
    map_size: tuple[int, int],
) -> Any:
    policy = engine.manifest.threshold
    limit = threshold_for(engine.tensors["calibration/scores"], policy.false_reject)
    default = np.array(float32_limit(limit.value))
    N: int | str = settings.batch or "N"
    element = helper.np_dtype_to_tensor_dtype(np.dtype(frame.dtype))
    inputs = [
        helper.make_tensor_value_info(INPUT, element, [N, *frame.shape]),
        helper.make_tensor_value_info(THRESHOLD, TensorProto.FLOAT, []),
    ]
    forms = (
        (TensorProto.FLOAT, [N]),
        (TensorProto.FLOAT, [N, *map_size]),
        (TensorProto.INT64, [N]),
        (TensorProto.FLOAT, [N]),
    )
    outputs = [
        helper.make_tensor_value_info(name, kind, shape)
        for name, (kind, shape) in zip(OUTPUTS, forms, strict=True)
    ]
    nodes, constants = graph.used(OUTPUTS)
    total = sum(tensor.ByteSize() for tensor in constants)
    if total > MAX_BYTES:
        raise SettingError(
            f"[export onnx] the graph of {engine.path} would hold {total / 1e9:.2f} GB of weights "
            "and bank; one ONNX file has less than 2 GB. Train with a smaller --coreset."
        )
    opset = helper.make_opsetid("", graph.opset)
    model = helper.make_model(
        helper.make_graph(
            nodes,
            f"pyad_edge {engine.manifest.method}",
            inputs,
            outputs,
            [numpy_helper.from_array(default, THRESHOLD), *constants],
        ),
        opset_imports=[opset],
        ir_version=helper.find_min_ir_version_for([opset]),
        producer_name="pyad_edge",
        producer_version=__version__,
    )
    manifest = engine.manifest
    about = {
        "pyad_edge.engine_sha256": engine.file_sha256,
        "pyad_edge.format_version": str(manifest.format_version),
        "pyad_edge.method": manifest.method,
        "pyad_edge.score_meaning": manifest.score_meaning,
        "pyad_edge.threshold": repr(limit.value),
        "pyad_edge.threshold_policy": limit.statement(),
        "pyad_edge.verdicts": "0 OK, 1 NG, 2 FAULT",
        "pyad_edge.version": __version__,
    }
    helper.set_model_props(model, about)
    try:
        onnx.checker.check_model(model, full_check=True)
    except Exception as error:  # the checker's own, and shape inference's
        raise BackendError(
            f"[export onnx] the graph of {engine.path} is not valid: {error}. Does its network "
            "take frames of one size only?"
        ) from error
    return model
