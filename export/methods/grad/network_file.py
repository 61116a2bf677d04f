"""The inference graph as an ONNX file, compared with torch before anyone relies on it."""

from __future__ import annotations

import io
from dataclasses import dataclass, field

import numpy as np
import torch

from pyad_edge.backends.onnxruntime import OnnxRuntimeBackend
from pyad_edge.errors import BackendError
from pyad_edge.export.methods.grad.detector import STRIDE
from pyad_edge.export.methods.grad.graph import OUTPUT, InferenceGraph
from pyad_edge.export.networks import first_line
from pyad_edge.export.onnx import OPSETS, finish, quiet

__all__ = ["NetworkFile", "write_network"]

MAX_RELATIVE_ERROR = 1e-4


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
    size = graph.input_size
    image = torch.from_numpy(np.random.default_rng(0).normal(size=(2, 3, *size)).astype(np.float32))
    buffer = io.BytesIO()
    with quiet(), torch.no_grad():
        wanted = graph(image).numpy()
        try:
            torch.onnx.export(
                graph,
                (image,),
                buffer,
                dynamo=False,
                opset_version=OPSETS[0],
                input_names=["image"],
                output_names=[OUTPUT],
                dynamic_axes={key: {0: "N"} for key in ("image", OUTPUT)},
                do_constant_folding=True,
            )
        except Exception as error:  # whatever the exporter does not like
            raise BackendError(
                f"[grad] torch {torch.__version__} cannot write the detectors as ONNX opset "
                f"{OPSETS[0]}: {first_line(error)}. Use a version that pyad_edge[train] names."
            ) from error
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
        model = finish(buffer.getvalue(), about)
    return NetworkFile(
        model=model,
        grid=(wanted.shape[2], wanted.shape[3]),
        max_relative_error=_compare(model, image.numpy(), wanted),
    )


def _compare(
    model: bytes,
    image: np.ndarray[tuple[int, ...], np.dtype[np.float32]],
    wanted: np.ndarray[tuple[int, ...], np.dtype[np.float32]],
) -> float:
    backend = OnnxRuntimeBackend(model, outputs=(OUTPUT,))
    scale = max(float(np.abs(wanted).max()), 1e-30)
    worst = 0.0
    for count in (1, 2):
        (found,) = backend.run(image[:count])
        worst = max(worst, float(np.abs(wanted[:count].astype(np.float64) - found).max()) / scale)
    if not worst <= MAX_RELATIVE_ERROR:  # NaN too
        raise BackendError(
            f"[grad] the detectors as ONNX differ from torch by {worst:.1e} relative; at most "
            f"{MAX_RELATIVE_ERROR:.0e} is accepted. Did the training diverge?"
        )
    return worst
