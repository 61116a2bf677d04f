"""The inference graph as an ONNX file, compared with torch before anyone relies on it."""

from __future__ import annotations

from dataclasses import dataclass, field

from pyad_edge.export.methods.fod.graph import InferenceGraph
from pyad_edge.export.methods.traced_network import check_traced, noise, trace
from pyad_edge.export.networks import require
from pyad_edge.export.onnx import finish

__all__ = ["NetworkFile", "write_network"]


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
    image, what = noise(size), f"[fod] {name}"
    traced, wanted = trace(
        graph, image, graph.outputs, what=what, way_out="Choose another --backbone."
    )
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
    model = finish(_hide(traced, outputs), about)
    error = check_traced(model, outputs, image, wanted[: graph.visible], what=what)
    return NetworkFile(model, outputs, error)


def _hide(model: bytes, outputs: tuple[str, ...]) -> bytes:
    """The file without the outputs that no head reads; their values keep their names in it."""
    onnx = require("onnx")
    proto = onnx.load_from_string(model)
    kept = [output for output in proto.graph.output if output.name in outputs]
    del proto.graph.output[:]
    proto.graph.output.extend(kept)
    return bytes(proto.SerializeToString(deterministic=True))
