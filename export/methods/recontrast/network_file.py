"""The inference graph as an ONNX file, compared with torch before anyone relies on it."""

from __future__ import annotations

import io
from dataclasses import dataclass, field

import numpy as np
import torch

from pyad_edge.backends.onnxruntime import OnnxRuntimeBackend
from pyad_edge.errors import BackendError
from pyad_edge.export.methods.recontrast.graph import InferenceGraph
from pyad_edge.export.networks import first_line
from pyad_edge.export.onnx import OPSETS, finish, quiet

__all__ = ["NetworkFile", "write_network"]

MAX_RELATIVE_ERROR = 1e-4


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
    image = torch.from_numpy(_noise(2, size))
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
                f"[recontrast] torch {torch.__version__} cannot write {name} as ONNX opset "
                f"{OPSETS[0]}: {first_line(error)}. Choose another --backbone."
            ) from error
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
        model = finish(buffer.getvalue(), about)
    return NetworkFile(
        model=model,
        outputs=graph.outputs,
        pairs=graph.pairs,
        grid=(wanted[0].shape[2], wanted[0].shape[3]),
        max_relative_error=_compare(graph, model, image, wanted, name),
    )


def _compare(
    graph: InferenceGraph,
    model: bytes,
    image: torch.Tensor,
    wanted: list[np.ndarray[tuple[int, ...], np.dtype[np.float32]]],
    name: str,
) -> float:
    backend = OnnxRuntimeBackend(model, outputs=graph.outputs)
    worst = 0.0
    for count in (1, 2):
        found = backend.run(image[:count].numpy())
        for a, b in zip(wanted, found, strict=True):
            scale = max(float(np.abs(a).max()), 1e-30)
            worst = max(worst, float(np.abs(a[:count].astype(np.float64) - b).max()) / scale)
    if not worst <= MAX_RELATIVE_ERROR:  # NaN too
        raise BackendError(
            f"[recontrast] {name} as ONNX differs from torch by {worst:.1e} relative; at most "
            f"{MAX_RELATIVE_ERROR:.0e} is accepted. Did the training diverge?"
        )
    return worst


def _noise(count: int, size: tuple[int, int]) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    values = np.random.default_rng(0).normal(size=(count, 3, *size))
    return values.astype(np.float32)
