"""An engine's networks in another precision; everything around them stays float32."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pyad_edge.backends.base import Float32
from pyad_edge.backends.int8 import quantize
from pyad_edge.backends.typed_onnx import lowered
from pyad_edge.engine import Engine
from pyad_edge.engine_manifest import Manifest, Member, member_tensor
from pyad_edge.ensemble_pipeline import EnsemblePipeline
from pyad_edge.errors import DataError
from pyad_edge.frame_files import read_frame
from pyad_edge.images import list_images
from pyad_edge.opening import build_pipeline
from pyad_edge.pipeline import Pipeline
from pyad_edge.prepare import spread_pictures
from pyad_edge.refined_pipeline import RefinedPipeline

__all__ = [
    "Network",
    "Precision",
    "lower_networks",
    "networks_of",
    "quantised",
    "with_networks",
]

Precision = Literal["fp32", "fp16", "bf16", "int8"]


@dataclass(frozen=True)
class Network:
    """One network of an engine.

    Attributes:
        index: 0, or the member's of an ensemble.
        tensor: its name in the engine.
        model: bytes of its ONNX file.
        outputs: names wanted.
        input_size: (H, W).
    """

    index: int
    tensor: str
    model: bytes
    outputs: tuple[str, ...]
    input_size: tuple[int, int]


def networks_of(engine: Engine) -> Iterator[Network]:
    """The engine's network, or those of all members; a refinement is not among them."""
    manifest = engine.manifest
    described: tuple[Manifest | Member, ...] = (manifest, *(manifest.members or ()))
    for index, member in enumerate(described):
        tensor = member_tensor(index, "network/onnx")
        yield Network(
            index,
            tensor,
            bytes(engine.tensors[tensor]),
            member.backbone.outputs,
            member.network.input_size,
        )


def quantised(
    engine: Engine, *, calibration: Path | None = None, symmetric: bool = False
) -> Engine:
    """The engine with its networks in int8, in memory: it is no file's content any more.

    Args:
        engine: verified.
        calibration: folder of normal pictures whose values the ranges come from, beside those of
            the engine's golden pictures; None: of these alone.
        symmetric: the form that TensorRT reads, see :func:`pyad_edge.backends.int8.quantize`.

    Raises:
        BackendError: if a network cannot be quantised.
        DataError: if the folder has no pictures or one cannot be read.
    """
    pipelines = _members(build_pipeline(engine))
    golden = list(engine.tensors["golden/frames"])
    pictures = [] if calibration is None else _frames(calibration, pipelines[0])
    changed = {}
    for network in networks_of(engine):
        pipeline = pipelines[network.index]
        size = (len(golden) + len(pictures), 3, *network.input_size)
        batch: Float32 = np.empty(size, np.float32)
        inputs = batch[:, None]  # (1, 3, H, W) each
        for n, frame in enumerate(golden):
            pipeline.own.write_input(frame, out=inputs[n], run=n)
        for n, frame in enumerate(pictures):  # files are RGB where no format is declared
            pipeline.write_input(frame, out=inputs[len(golden) + n], run=n, color_order="rgb")
        # A file may run on processors whose sums of two products have 16 bits: weights get 7.
        content = quantize(network.model, batch, symmetric=symmetric, reduce_range=not symmetric)
        changed[network.tensor] = np.frombuffer(content, np.uint8)
    return with_networks(engine, changed)


def with_networks(engine: Engine, networks: dict[str, NDArray[np.uint8]]) -> Engine:
    """The engine with other networks in place of its own, by the names of their tensors.

    Its SHA-256 becomes one of both, so that nothing built from it is taken for the engine's.
    """
    digest = hashlib.sha256(engine.file_sha256.encode())
    for content in networks.values():
        digest.update(content.data)
    return replace(engine, tensors={**engine.tensors, **networks}, file_sha256=digest.hexdigest())


def lower_networks(pipeline: Any, precision: Literal["fp16", "bf16"]) -> None:
    """Change the types inside a graph's networks, in place; what is around them stays float32.

    Args:
        pipeline: ``onnx.ModelProto`` of :func:`pyad_edge.export.targets.onnx_pipeline
            .build_pipeline`; the nodes of its networks are named ``network0/...``.
        precision: to compute in.

    Raises:
        BackendError: if a weight is beyond the type's range.
    """
    import onnx

    graph = pipeline.graph
    named = [(n, match[0]) for n in graph.node if (match := _NETWORK.match(n.name))]
    for prefix in sorted({prefix for _, prefix in named}):
        nodes = [node for node, own in named if own == prefix]
        made = {name for node in nodes for name in node.output}
        used = {name for node in nodes for name in node.input if name}
        weights = [tensor for tensor in graph.initializer if tensor.name in used]
        known = {tensor.name for tensor in weights}
        inputs = sorted(used - made - known)
        outside = {name for node in graph.node if node not in nodes for name in node.input}
        part = onnx.helper.make_model(
            onnx.helper.make_graph(
                nodes,
                prefix,
                [_float(onnx, name) for name in inputs],
                [_float(onnx, name) for name in sorted(made & outside)],
                weights,
            ),
            opset_imports=pipeline.opset_import,
            ir_version=pipeline.ir_version,
        )
        lower = onnx.load_model_from_string(lowered(part.SerializeToString(), precision)).graph
        first = next(n for n, node in enumerate(graph.node) if node.name == nodes[0].name)
        rest = [node for node in graph.node if node not in nodes]
        before = sum(1 for node in graph.node[:first] if node not in nodes)
        others = [t for t in graph.initializer if t.name not in known or t.name in outside]
        merged = [*rest[:before], *lower.node, *rest[before:]]
        _replace(graph.node, merged)
        _replace(graph.initializer, [*others, *lower.initializer])


_NETWORK = re.compile(r"network\d+/")


def _float(onnx: Any, name: str) -> Any:
    return onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)


def _replace(field: Any, entries: Sequence[Any]) -> None:
    """A repeated field's entries; they may be its own, so they are copied first."""
    copies = []
    for entry in entries:
        copy = type(entry)()
        copy.CopyFrom(entry)
        copies.append(copy)
    del field[:]
    field.extend(copies)


def _members(pipeline: Pipeline) -> list[Pipeline]:
    """The pipelines of the single networks."""
    if isinstance(pipeline, RefinedPipeline):
        return _members(pipeline.inner)
    return list(pipeline.members) if isinstance(pipeline, EnsemblePipeline) else [pipeline]


def _frames(folder: Path, pipeline: Pipeline) -> list[Any]:
    paths = list_images(folder, recursive=True)
    if not paths:
        raise DataError(
            f"[export] {folder} has no pictures to calibrate with. Name a folder of good parts."
        )
    return [
        read_frame(path, pipeline.input_info["pixel_format"]) for path in spread_pictures(paths)
    ]
