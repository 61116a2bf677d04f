"""A trained refinement network as an ONNX file, checked against torch."""

from __future__ import annotations

import io
import warnings

import numpy as np
import torch

from pyad_edge.backends.onnxruntime_session import open_session
from pyad_edge.errors import BackendError
from pyad_edge.export.methods.refinement.network import RefinementNetwork
from pyad_edge.refined_pipeline import INPUT, OUTPUT

__all__ = ["export_network"]

OPSET = 17
MAX_ERROR = 1e-5  # of a probability


def export_network(
    network: RefinementNetwork, *, size: tuple[int, int], picture: bool
) -> tuple[bytes, float]:
    """The network for maps of one size, batch norms folded.

    Args:
        network: in evaluation mode.
        size: (H, W) of the maps.
        picture: whether it takes the picture as well.

    Returns:
        The file's bytes, and the largest difference of a probability from torch's.

    Raises:
        BackendError: if the difference is above 1e-5, or torch cannot write the network.
    """
    rng = np.random.default_rng(0)
    sample = rng.normal(0, 2, (1, 4 if picture else 1, *size)).astype(np.float32)
    buffer = io.BytesIO()
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch on its own exporters
        wanted = network(torch.from_numpy(sample)).numpy()
        torch.onnx.export(
            network, (torch.from_numpy(sample),), buffer, dynamo=False, opset_version=OPSET,
            input_names=[INPUT], output_names=[OUTPUT], do_constant_folding=True,
        )  # fmt: skip
    model = buffer.getvalue()
    (found,) = open_session(model, threads=1).run([OUTPUT], {INPUT: sample})
    difference = float(np.abs(found.astype(np.float64) - wanted).max())
    if found.shape != wanted.shape or not difference <= MAX_ERROR:
        raise BackendError(
            f"[refinement] the ONNX file differs from torch by {difference:.1e} in a probability; "
            f"at most {MAX_ERROR:.0e} is accepted. Is this torch {torch.__version__} supported?"
        )
    return model, difference
