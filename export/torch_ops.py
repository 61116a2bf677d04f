"""The kernels that training uses, as torch operators: ``torch.ops.pyad_edge.density_weights``.

Tensors are read where they lie, on the CPU and on CUDA devices. Importing this module registers
the operators; they take part in autograd and ``torch.compile``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from pyad_edge import ops
from pyad_edge.ops import cuda
from pyad_edge.ops.cuda.density_weights import workspace_bytes
from pyad_edge.ops.density_weights import check_shapes, checked_beta

__all__ = ["density_weights"]

CHUNK = 1024  # queue rows whose cosines the gradient holds at a time


def density_weights(features: torch.Tensor, queue: torch.Tensor, *, beta: float) -> torch.Tensor:
    """GRAD's density weights; see :func:`pyad_edge.ops.density_weights`.

    Neither direction holds the (q, Q) cosines: the gradient computes them again, ``CHUNK`` rows of
    the queue at a time. It goes to the features, and to the queue where that asks for one; to rows
    of zeros it is zero. It has no gradient of its own.

    Args:
        features: (q, D) float32, on the CPU or a CUDA device.
        queue: (Q, D) float32 on the same device, Q >= 1.
        beta: of the exponent, 0 < beta <= 1000.

    Returns:
        (q,) float32 on that device, the logarithms of the weights. On a CUDA device values that
        are not finite give weights that are NaN.

    Raises:
        BackendError: if the tensors are on a device that this build has no kernels for.
        TypeError: if a tensor is not float32.
        ValueError: if a shape, a device, ``beta`` or, on the CPU, a value does not fit.
    """
    for name, tensor in (("features", features), ("queue", queue)):
        if tensor.dtype != torch.float32:
            raise TypeError(
                f"[density_weights] expected {name} as a float32 tensor, got {tensor.dtype}. "
                "Convert it with .float(), under autocast too."
            )
    if features.device != queue.device:
        raise ValueError(
            f"[density_weights] expected queue on {features.device} as features, got "
            f"{queue.device}. Move it with .to()."
        )
    check_shapes(tuple(features.shape), tuple(queue.shape))
    weights: torch.Tensor = torch.ops.pyad_edge.density_weights(features, queue, checked_beta(beta))
    return weights


def _on_cpu(features: torch.Tensor, queue: torch.Tensor, beta: float) -> torch.Tensor:
    x: Any = np.from_dlpack(features.detach())
    z: Any = np.from_dlpack(queue.detach())
    return torch.from_numpy(ops.density_weights(x, z, beta=beta))


def _on_cuda(features: torch.Tensor, queue: torch.Tensor, beta: float) -> torch.Tensor:
    log_weights = features.new_empty(len(features))
    with torch.cuda.device(features.device):
        cuda.density_weights(
            features.detach().contiguous(),
            queue.detach().contiguous(),
            beta=beta,
            out=log_weights,
            workspace=torch.empty(
                workspace_bytes(len(features), len(queue), features.shape[1]),
                dtype=torch.uint8,
                device=features.device,
            ),
            stream=torch.cuda.current_stream().cuda_stream,
        )
    return log_weights


def _gradient(
    grad: torch.Tensor,
    features: torch.Tensor,
    queue: torch.Tensor,
    log_weights: torch.Tensor,
    beta: float,
    of_features: bool,
    of_queue: bool,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Gradients with respect to both; empty where not asked for.

    With c the cosines and w the weights, the derivative by c[i, j] is -beta w[i] exp(beta c[i, j]).
    """
    x, x_lengths = _unit_rows(features)
    z, z_lengths = _unit_rows(queue)
    by_x = torch.zeros_like(x) if of_features else x.new_empty(0)
    by_z = torch.empty_like(z) if of_queue else z.new_empty(0)
    factors = (-beta * grad)[:, None]
    for begin in range(0, len(z), CHUNK):
        rows = z[begin : begin + CHUNK]
        by_cosine = torch.addmm(log_weights[:, None], x, rows.T, alpha=beta).exp_()
        by_cosine *= factors
        if of_features:
            by_x.addmm_(by_cosine, rows)
        if of_queue:
            torch.mm(by_cosine.T, x, out=by_z[begin : begin + CHUNK])
    if of_features:
        by_x = _through_normalisation(by_x, x, x_lengths)
    if of_queue:
        by_z = _through_normalisation(by_z, z, z_lengths)
    return by_x, by_z


def _unit_rows(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    # In float64, since squares of small features leave float32.
    lengths = torch.linalg.vector_norm(rows, dim=1, keepdim=True, dtype=torch.float64)
    return torch.where(lengths > 0, rows / lengths, 0).float(), lengths


def _through_normalisation(
    by_unit: torch.Tensor, unit: torch.Tensor, lengths: torch.Tensor
) -> torch.Tensor:
    across = by_unit - (by_unit * unit).sum(1, keepdim=True) * unit
    return torch.where(lengths > 0, across / lengths, 0).float()


def _setup(ctx: Any, inputs: tuple[Any, ...], output: torch.Tensor) -> None:
    features, queue, ctx.beta = inputs
    ctx.save_for_backward(features, queue, output)


def _backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
    features, queue, log_weights = ctx.saved_tensors
    wanted = ctx.needs_input_grad[:2]
    gradients = torch.ops.pyad_edge.density_weights_gradient(
        grad, features, queue, log_weights, ctx.beta, *wanted
    )
    by_features, by_queue = (
        gradient if want else None for gradient, want in zip(gradients, wanted, strict=True)
    )
    return by_features, by_queue, None


def _shape_of_weights(features: torch.Tensor, queue: torch.Tensor, beta: float) -> torch.Tensor:
    return features.new_empty(features.shape[0])


def _shapes_of_gradient(
    grad: torch.Tensor,
    features: torch.Tensor,
    queue: torch.Tensor,
    log_weights: torch.Tensor,
    beta: float,
    of_features: bool,
    of_queue: bool,
) -> tuple[torch.Tensor, torch.Tensor]:
    return (
        features.new_empty(features.shape if of_features else (0,)),
        queue.new_empty(queue.shape if of_queue else (0,)),
    )


_weights = torch.library.custom_op(
    "pyad_edge::density_weights",
    _on_cpu,
    mutates_args=(),
    device_types="cpu",
    schema="(Tensor features, Tensor queue, float beta) -> Tensor",
)
_weights.register_kernel("cuda", _on_cuda)
_weights.register_fake(_shape_of_weights)
_weights.register_autograd(_backward, setup_context=_setup)
torch.library.custom_op(
    "pyad_edge::density_weights_gradient",
    _gradient,
    mutates_args=(),
    schema="(Tensor grad, Tensor features, Tensor queue, Tensor log_weights, float beta, "
    "bool of_features, bool of_queue) -> (Tensor, Tensor)",
).register_fake(_shapes_of_gradient)
