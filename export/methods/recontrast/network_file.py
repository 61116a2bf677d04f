"""The inference graph as an ONNX file, compared with torch before anyone relies on it."""

from __future__ import annotations

from dataclasses import dataclass, field

from pyad_edge.export.methods.recontrast.graph import InferenceGraph
from pyad_edge.export.methods.traced_network import check_traced, noise, trace
from pyad_edge.export.onnx import finish

__all__ = ["NetworkFile", "write_network"]


@dataclass(frozen=True, eq=False)
class NetworkFile:
    """An ONNX model and what its outputs are.

    Attributes:
        model: bytes; input ``image`` (N, 3, H, W) float32, N open.
        outputs: names, encoders' maps first.
        pairs: (encoder, decoder) indices into ``outputs``.
        grid: (h, w) of the first pair.
        max_relative_error: against torch on noise, over each output's largest magnitude.
    """

    model: bytes = field(repr=False)
    outputs: tuple[str, ...]
    pairs: tuple[tuple[int, int], ...]
    grid: tuple[int, int]
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
        name: of the encoder; the file says it of itself.
        size: (H, W) of the input, multiples of 32.
        mean, std: of the pre-processing; the file says them.

    Raises:
        BackendError: if torch cannot write the file, or it computes something else.
    """
    image, what = noise(size), f"[recontrast] {name}"
    traced, wanted = trace(
        graph, image, graph.outputs, what=what, way_out="Choose another --backbone."
    )
    about = {
        "name": name,
        "weights_sha256": None,  # of this training's weights: the file itself
        "mean": mean,
        "std": std,
        "color_order": "rgb",
        "layers": graph.outputs,
        "strides": [size[0] // output.shape[2] for output in wanted],
        "channels": [output.shape[1] for output in wanted],
    }
    model = finish(traced, about)
    return NetworkFile(
        model=model,
        outputs=graph.outputs,
        pairs=graph.pairs,
        grid=(wanted[0].shape[2], wanted[0].shape[3]),
        max_relative_error=check_traced(model, graph.outputs, image, wanted, what=what),
    )
