"""density_weights on a CUDA device beside the straightforward forms in torch.

python benchmarks/kernels/cuda_density_weights.py

Cases and peers are those of density_weights.py. The peers' queue is normalised beforehand, ours is
normalised in the call.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from compare import Contender
from density_weights import CASES, clustered
from on_device import current_stream, device_benchmark, device_case
from torch.nn.functional import normalize

from pyad_edge.ops import cuda
from pyad_edge.reference.density_weights import density_weights as reference


def with_pyad_edge(features: torch.Tensor, queue: torch.Tensor, **settings: Any) -> torch.Tensor:
    weights: torch.Tensor = cuda.density_weights(
        features, queue, **settings, stream=current_stream()
    )
    return weights


def with_logsumexp(features: torch.Tensor, unit: torch.Tensor, beta: float) -> torch.Tensor:
    return -torch.logsumexp(beta * (normalize(features) @ unit.T), 1)


def with_sum(features: torch.Tensor, unit: torch.Tensor, beta: float) -> torch.Tensor:
    return -((beta * normalize(features)) @ unit.T).exp_().sum(1).log_()


def in_bfloat16(features: torch.Tensor, unit: torch.Tensor, beta: float) -> torch.Tensor:
    return -torch.logsumexp(beta * (normalize(features).bfloat16() @ unit.T).float(), 1)


def main() -> None:
    benchmark = device_benchmark("density_weights: log-sum-exp of cosines with a queue")
    for name, q, Q, D, beta in CASES:
        rng = np.random.default_rng(0)
        features, queue = clustered(rng, q, D), clustered(rng, Q, D)
        rows, columns = (torch.from_numpy(array).cuda() for array in (features, queue))
        unit = normalize(columns)
        settings = {
            "beta": beta,
            "out": torch.empty(q, device="cuda"),
            "workspace": cuda.density_weights_workspace(q, Q, D),
        }
        peers: list[tuple[str, Callable[..., torch.Tensor], torch.Tensor, float]] = [
            ("torch, logsumexp", with_logsumexp, unit, 1e-5 * beta),
            ("torch, exp and sum", with_sum, unit, 1e-5 * beta),
            ("torch, bfloat16 product", in_bfloat16, unit.bfloat16(), 0.02 * beta),
        ]
        contenders: list[Contender] = [
            (
                "pyad_edge",
                partial(with_pyad_edge, rows, columns, **settings),
                beta * float(np.sqrt(D)) / 32512,
            )
        ]
        for peer, run, matrix, tolerance in peers:
            if peer == "torch, exp and sum" and beta > 80:
                benchmark.skip(f"{name}, {peer}", "float32 overflows from beta = 89 on")
                continue
            contenders.append((peer, partial(run, rows, matrix, beta), tolerance))
        device_case(
            benchmark,
            name,
            reference(features, queue, beta=beta),
            contenders,
            moved=float(features.nbytes + queue.nbytes + 4 * q),
        )
    benchmark.finish()


if __name__ == "__main__":
    main()
