"""The inference graph as an ONNX file, compared with torch before anyone relies on it."""

from __future__ import annotations

import io
from dataclasses import dataclass, field

import numpy as np
import torch

from pyad_edge.backends.onnxruntime import OnnxRuntimeBackend
from pyad_edge.errors import BackendError
from pyad_edge.export.methods.fod.graph import InferenceGraph
from pyad_edge.export.networks import first_line, require
from pyad_edge.export.onnx import OPSETS, finish, quiet

__all__ = ["NetworkFile", "write_network"]

MAX_RELATIVE_ERROR = 1e-4


@dataclass(frozen=True, eq=False)
class NetworkFile:
    """An ONNX model and what its outputs are.

    Attributes:
        model: bytes; input ``image`` (N, 3, H, W) float32, N open.
        outputs: names of what the head reads.
        max_relative_error: against torch on noise, over each output's largest magnitude.
    """

    model: bytes = field(repr=False)
    outputs: tuple[str, ...]
    max_relative_error: float


def write_network(
    graph: InferenceGraph,
    *,
    name: str,
    size: tuple[int, int],
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
) -> NetworkFile:
    """Traces the graph and checks the file against it, for one picture and for two.

    Args:
        graph: see there.
        name: of the backbone; the file says it of itself.
        size: (H, W) of the input.
        mean, std: of the pre-processing; the file says them.

    Raises:
        BackendError: if torch cannot write the file, or it computes something else.
    """
    values = np.random.default_rng(0).normal(size=(2, 3, *size))
    image = torch.from_numpy(values.astype(np.float32))
    buffer = io.BytesIO()
    with quiet(), torch.no_grad():
        wanted = [output.numpy() for output in graph(image)]
        try:
            torch.onnx.export(
                graph,
                (image,),
                buffer,
                dynamo=False,
                opset_version=OPSETS[0],
                input_names=["image"],
                output_names=list(graph.outputs),
                dynamic_axes={key: {0: "N"} for key in ("image", *graph.outputs)},
                do_constant_folding=True,
            )
        except Exception as error:  # whatever the exporter does not like
            raise BackendError(
                f"[fod] torch {torch.__version__} cannot write {name} as ONNX opset {OPSETS[0]}: "
                f"{first_line(error)}. Choose another --backbone."
            ) from error
    outputs = graph.outputs[: graph.visible]
    about = {
        "name": name,
        "weights_sha256": None,  # of this training's weights: the file itself
        "mean": mean,
        "std": std,
        "color_order": "rgb",
        "layers": outputs,
        "strides": [1] * len(outputs),
        "channels": [output.shape[1] for output in wanted[: graph.visible]],
    }
    model = finish(_hide(buffer.getvalue(), outputs), about)
    return NetworkFile(model, outputs, _compare(outputs, model, image, wanted, name))


def _hide(model: bytes, outputs: tuple[str, ...]) -> bytes:
    """The file without the outputs that no head reads; their values keep their names in it."""
    onnx = require("onnx")
    proto = onnx.load_from_string(model)
    kept = [output for output in proto.graph.output if output.name in outputs]
    del proto.graph.output[:]
    proto.graph.output.extend(kept)
    return bytes(proto.SerializeToString(deterministic=True))


def _compare(
    outputs: tuple[str, ...],
    model: bytes,
    image: torch.Tensor,
    wanted: list[np.ndarray[tuple[int, ...], np.dtype[np.float32]]],
    name: str,
) -> float:
    backend = OnnxRuntimeBackend(model, outputs=outputs)
    worst = 0.0
    for count in (1, 2):
        for a, b in zip(wanted, backend.run(image[:count].numpy()), strict=False):
            scale = max(float(np.abs(a).max()), 1e-30)
            worst = max(worst, float(np.abs(a[:count].astype(np.float64) - b).max()) / scale)
    if not worst <= MAX_RELATIVE_ERROR:  # NaN too
        raise BackendError(
            f"[fod] {name} as ONNX differs from torch by {worst:.1e} relative; at most "
            f"{MAX_RELATIVE_ERROR:.0e} is accepted. Did the training diverge?"
        )
    return worst
