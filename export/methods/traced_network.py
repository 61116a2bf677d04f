"""An inference graph of torch as ONNX bytes, and how far the file's outputs are from torch's."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from pyad_edge.backends.onnxruntime import OnnxRuntimeBackend
from pyad_edge.errors import BackendError
from pyad_edge.export.networks import first_line
from pyad_edge.export.onnx import OPSETS, quiet

__all__ = ["check_traced", "noise", "trace"]

MAX_RELATIVE_ERROR = 1e-4


def noise(size: tuple[int, int]) -> torch.Tensor:
    """(2, 3, H, W) float32, always the same."""
    values = np.random.default_rng(0).normal(size=(2, 3, *size))
    return torch.from_numpy(values.astype(np.float32))


def trace(
    graph: nn.Module, image: torch.Tensor, outputs: Sequence[str], *, what: str, way_out: str
) -> tuple[bytes, list[NDArray[np.float32]]]:
    """Write a graph for any number of pictures.

    Args:
        graph: (N, 3, H, W) to one tensor, or to one of each name in ``outputs``.
        image: (N, 3, H, W) float32, from :func:`noise`.
        outputs: names.
        what: method and network, for errors: "[fod] resnet18".
        way_out: what to do where torch cannot write it.

    Returns:
        The file, and torch's own outputs of ``image``.

    Raises:
        BackendError: if torch cannot write the file.
    """
    buffer = io.BytesIO()
    with quiet(), torch.no_grad():
        found: Any = graph(image)
        wanted = [own.numpy() for own in ([found] if isinstance(found, torch.Tensor) else found)]
        try:
            torch.onnx.export(
                graph,
                (image,),
                buffer,
                dynamo=False,
                opset_version=OPSETS[0],
                input_names=["image"],
                output_names=list(outputs),
                dynamic_axes={key: {0: "N"} for key in ("image", *outputs)},
                do_constant_folding=True,
            )
        except Exception as error:  # whatever the exporter does not like
            raise BackendError(
                f"{what}: torch {torch.__version__} cannot write it as ONNX opset {OPSETS[0]}: "
                f"{first_line(error)}. {way_out}"
            ) from error
    return buffer.getvalue(), wanted


def check_traced(
    model: bytes,
    outputs: Sequence[str],
    image: torch.Tensor,
    wanted: Sequence[NDArray[np.float32]],
    *,
    what: str,
) -> float:
    """Run the file for one picture and for two, and compare it with torch.

    Args:
        model: of the file; outputs: that it has.
        image, wanted: of :func:`trace`; ``wanted`` in the order of ``outputs``.
        what: as in :func:`trace`.

    Returns:
        The largest difference of a value, over its output's largest magnitude.

    Raises:
        BackendError: if that is above 1e-4, or not a number.
    """
    backend = OnnxRuntimeBackend(model, outputs=tuple(outputs))
    worst = 0.0
    for count in (1, 2):
        for a, b in zip(wanted, backend.run(image[:count].numpy()), strict=True):
            scale = max(float(np.abs(a).max()), 1e-30)
            error = float(np.abs(a[:count].astype(np.float64) - b).max()) / scale
            worst = float(np.maximum(worst, error))  # NaN wins
    if not worst <= MAX_RELATIVE_ERROR:
        raise BackendError(
            f"{what} as ONNX differs from torch by {worst:.1e} relative; at most "
            f"{MAX_RELATIVE_ERROR:.0e} is accepted. Did the training diverge?"
        )
    return worst
