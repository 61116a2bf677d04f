"""Static quantisation to 8 bits with ONNX Runtime's own quantiser: one network for every backend.

Weights are symmetric int8 with a scale per channel, activations uint8 with the range that normal
pictures have. The first convolution stays in floating point: it takes the picture itself, and
quantising it doubled the error of the features (ResNet-18 on MTD at 224 px, 8 pictures: 12.1 %
against 6.5 % of the features' norm at layer 2), while it is a small part of the time. So do scores:
a range learned from normal pictures would cut off what defects score. Inside a network that gives
scores, ranges are those of the pictures and of the pictures at twice their contrast, for the same
reason: without them a picture that scored 11.9 scored 7.5 (GRAD, level 34, MTD); with them 10.6.
"""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from pyad_edge.backends._common import require_package
from pyad_edge.backends.base import Float32
from pyad_edge.backends.cache import CacheEntry, cache_key, load, store
from pyad_edge.errors import BackendError
from pyad_edge.ops.threads import available_cpu_levels

__all__ = ["int8_key", "int8_network", "quantize"]

_SCHEME = 1  # counts up when the same pictures would give another network
_KIND = "int8"
# Levels whose products of 8 bits add up in 32 bits. Without one, onnxruntime adds pairs in 16.
_EXACT_LEVELS = {"avx2vnni", "avx512vnni", "avx512amx", "neon", "neondot"}
_SYMMETRIC = {"ActivationSymmetric": True, "WeightSymmetric": True, "QuantizeBias": False}
_HEADERS = {"onnx.infer": "onnxruntime.quant", "onnx.quant.pre_process": "onnxruntime.quant"}


def int8_key(*, engine: str) -> str:
    """The cache's key of an engine's quantised network on a machine like this one."""
    import onnxruntime as ort

    return cache_key(
        engine=engine,
        built="int8 network",
        quantizer=f"onnxruntime {ort.__version__}",
        reduce_range=_reduce_range(),
        scheme=_SCHEME,
    )


def int8_network(model: bytes, *, engine: str, calibration: Float32 | None) -> CacheEntry:
    """An engine's network in int8: the one that is kept, else one made from `calibration`.

    Args:
        model: the engine's ONNX file.
        engine: SHA-256 of the engine.
        calibration: (n, 3, H, W) float32, normal pictures, preprocessed; none: only what is kept.

    Raises:
        BackendError: if none is kept and there are no pictures, the one that is kept cannot be
            trusted, or quantising fails.
        ResourceError: if it cannot be kept.
    """
    key = int8_key(engine=engine)
    if (found := load(key, kind=_KIND)) is not None:
        return found
    if calibration is None:
        raise BackendError(
            "[int8] this engine has no int8 network on this machine yet: the ranges of its values "
            "come from normal pictures. Make one with `pyad-edge prepare ENGINE --precision int8 "
            "--calibrate FOLDER`."
        )
    return make_int8(model, calibration, engine=engine)


def make_int8(model: bytes, calibration: Float32, *, engine: str) -> CacheEntry:
    """Quantise and keep the result, in place of an earlier one."""
    content = quantize(model, calibration)
    about = {
        "calibration": {
            "pictures": len(calibration),
            "sha256": hashlib.sha256(calibration.tobytes()).hexdigest(),
        }
    }
    store(int8_key(engine=engine), content, kind=_KIND, about=about)
    return CacheEntry(content, about)


def quantize(
    model: bytes,
    calibration: Float32,
    *,
    symmetric: bool = False,
    reduce_range: bool | None = None,
) -> bytes:
    """Quantise a network (QDQ form: ONNX Runtime and OpenVINO both read it).

    Args:
        model: bytes of an ONNX file with float32 weights inside.
        calibration: (n, 3, H, W) float32, preprocessed pictures that values range over.
        symmetric: TensorRT's form: activations int8 around zero, biases in floating point.
        reduce_range: 7 bits for weights, so that sums of two products fit into 16 bits; None: what
            this machine's processor needs.

    Returns:
        Bytes of an ONNX file with the same input and outputs.

    Raises:
        BackendError: if the package onnx is missing or the network cannot be quantised.
    """
    onnx = require_package("onnx", extra="int8", op="int8")
    tools = require_package("onnxruntime.quantization", extra="int8", op="int8")
    try:
        proto = onnx.load_model_from_string(model)
        for name, value in _HEADERS.items():  # it is exported clean; without these it complains
            entry = proto.metadata_props.add()
            entry.key, entry.value = name, value
        for n, node in enumerate(proto.graph.node):
            node.name = node.name or f"node{n}"
        source = proto.graph.input[0].name
        with tempfile.TemporaryDirectory(prefix="pyad_edge-") as folder:
            made = Path(folder) / "int8.onnx"
            tools.quantize_static(
                proto,
                str(made),
                _reader(tools, source, _with_room(proto.graph, calibration)),
                quant_format=tools.QuantFormat.QDQ,
                per_channel=True,
                reduce_range=_reduce_range() if reduce_range is None else reduce_range,
                activation_type=tools.QuantType.QInt8 if symmetric else tools.QuantType.QUInt8,
                weight_type=tools.QuantType.QInt8,
                calibrate_method=tools.CalibrationMethod.MinMax,
                nodes_to_exclude=_left_out(proto.graph),
                extra_options=_SYMMETRIC if symmetric else {},
            )
            return made.read_bytes()
    except Exception as error:  # whatever the quantiser meets in a network it does not know
        raise BackendError(
            f"[int8] cannot quantise this network: {type(error).__name__}: {str(error)[:200]}. "
            "Use another precision."
        ) from error


def _with_room(graph: Any, calibration: Float32) -> Float32:
    """The pictures; for a network that ends in scores also with twice their contrast."""
    shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    weights = (shapes.get(n.input[1], ()) for n in graph.node if n.op_type == "Conv")
    if not any(weight[:1] == (1,) for weight in weights):
        return calibration
    return np.concatenate([calibration, np.float32(2.0) * calibration])


def _left_out(graph: Any) -> list[str]:
    """Names of the nodes that stay in floating point.

    Convolutions that take a picture's three channels, and a constant added to what they give;
    convolutions that give one channel, a score, and all that follows; a transformer, from its first
    matrix product on: correlations of values in 256 steps are no numbers.
    """
    shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    pictures: set[str] = set()  # outputs of the nodes
    exact: set[str] = set()
    for node in graph.node:  # in an order in which they can run
        weight = shapes.get(node.input[1], ()) if node.op_type == "Conv" else ()
        added = node.op_type == "Add" and bool(pictures.intersection(node.input))
        if weight[1:2] == (3,) or added:
            pictures.update(node.output)
        elif weight[:1] == (1,) or node.op_type == "MatMul" or exact.intersection(node.input):
            exact.update(node.output)
    return [node.name for node in graph.node if (pictures | exact).intersection(node.output)]


def _reader(tools: Any, name: str, calibration: Float32) -> Any:
    pictures = iter(calibration)

    class Pictures(tools.CalibrationDataReader):  # type: ignore[misc]
        def get_next(self) -> dict[str, Float32] | None:
            picture = next(pictures, None)
            return None if picture is None else {name: picture[None]}

    return Pictures()


def _reduce_range() -> bool:
    """Whether 7 bits for weights are needed, so that sums of two products fit into 16 bits."""
    return not _EXACT_LEVELS & set(available_cpu_levels())
