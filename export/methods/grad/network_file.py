"""The inference graph as an ONNX file, compared with torch before anyone relies on it."""

from __future__ import annotations

from dataclasses import dataclass, field

from pyad_edge.export.methods.grad.detector import STRIDE
from pyad_edge.export.methods.grad.graph import OUTPUT, InferenceGraph
from pyad_edge.export.methods.traced_network import check_traced, noise, trace
from pyad_edge.export.onnx import finish

__all__ = ["NetworkFile", "write_network"]


@dataclass(frozen=True, eq=False)
class NetworkFile:
    """An ONNX model and what its output is.

    Attributes:
        model: bytes; input ``image`` (N, 3, H, W) float32, N open; output ``score_map``.
        grid: (h, w) of the score map.
        max_relative_error: against torch on noise, over the map's largest value.
    """

    model: bytes = field(repr=False)
    grid: tuple[int, int]
    max_relative_error: float


def write_network(
    graph: InferenceGraph,
    *,
    name: str,
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
) -> NetworkFile:
    """Traces the graph and checks the file against it, for one picture and for two.

    Args:
        graph: see there.
        name: of the network; the file says it of itself.
        mean, std: of the pre-processing; the file says them.

    Raises:
        BackendError: if torch cannot write the file, or it computes something else.
    """
    image, what = noise(graph.input_size), f"[grad] {name}"
    way_out = "Use a version that pyad_edge[train] names."
    traced, wanted = trace(graph, image, (OUTPUT,), what=what, way_out=way_out)
    about = {
        "name": name,
        "weights_sha256": None,  # of this training's weights: the file itself
        "mean": mean,
        "std": std,
        "color_order": "rgb",
        "layers": [OUTPUT],
        "strides": [STRIDE],
        "channels": [1],
    }
    model = finish(traced, about)
    return NetworkFile(
        model=model,
        grid=(wanted[0].shape[2], wanted[0].shape[3]),
        max_relative_error=check_traced(model, (OUTPUT,), image, wanted, what=what),
    )
