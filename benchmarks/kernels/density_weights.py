"""density_weights at every CPU level beside the straightforward forms in torch.

python benchmarks/kernels/density_weights.py

One step of GRAD's training: 128 (k + 2) patches, k = 3, against a queue of earlier features. The
peers form the (q, Q) matrix; their queue is normalised beforehand, ours is normalised in the call.
The sum of exponentials without a maximum is the faster form where beta allows it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from compare import Benchmark, Contender
from numpy.typing import NDArray
from torch.nn.functional import normalize

from pyad_edge import ops
from pyad_edge.reference.density_weights import density_weights as reference

Array = NDArray[np.float32]

CASES = [  # name, features q, queue Q, dimensions D, beta
    ("a GRAD step, D = 128", 640, 4096, 128, 10.0),
    ("a GRAD step, D = 256", 640, 4096, 256, 10.0),
    ("a GRAD step, D = 512", 640, 4096, 512, 10.0),
    ("a narrow kernel, D = 128", 640, 4096, 128, 100.0),
    ("a long queue, D = 128", 640, 32768, 128, 10.0),
]


def clustered(rng: np.random.Generator, rows: int, dim: int) -> Array:
    """Some dense places and a tail."""
    places = np.random.default_rng(7).standard_normal((20, dim))
    values = places[rng.geometric(0.2, rows).clip(1, 20) - 1] + rng.standard_normal((rows, dim))
    return values.astype(np.float32)


def at_level(level: str, features: Array, queue: Array, beta: float) -> Array:
    ops.set_cpu_level(level)
    return ops.density_weights(features, queue, beta=beta)


@torch.inference_mode()
def with_logsumexp(features: torch.Tensor, unit_queue: torch.Tensor, beta: float) -> Array:
    weights: Array = (-torch.logsumexp(beta * (normalize(features) @ unit_queue.T), 1)).numpy()
    return weights


@torch.inference_mode()
def with_sum(features: torch.Tensor, unit_queue: torch.Tensor, beta: float) -> Array:
    exponents = (beta * normalize(features)) @ unit_queue.T
    weights: Array = (-exponents.exp_().sum(1).log_()).numpy()
    return weights


@torch.inference_mode()
def in_bfloat16(features: torch.Tensor, unit_queue: torch.Tensor, beta: float) -> Array:
    cosines = normalize(features).bfloat16() @ unit_queue.T
    weights: Array = (-torch.logsumexp(beta * cosines.float(), 1)).numpy()
    return weights


def main() -> None:
    benchmark = Benchmark("density_weights: log-sum-exp of cosines with a queue")
    torch.set_num_threads(benchmark.options.threads)
    fastest = ops.cpu_level()
    levels = sorted(ops.available_cpu_levels(), key=lambda level: level != fastest)
    for name, q, Q, D, beta in CASES:
        rng = np.random.default_rng(0)
        features, queue = clustered(rng, q, D), clustered(rng, Q, D)
        rows, unit = torch.from_numpy(features), normalize(torch.from_numpy(queue))
        bound = beta * np.sqrt(D) / 32512
        peers: list[tuple[str, Callable[..., Any], Any, float]] = [
            ("torch, logsumexp", with_logsumexp, unit, 1e-5 * beta),
            ("torch, exp and sum", with_sum, unit, 1e-5 * beta),
            ("torch, bfloat16 product", in_bfloat16, unit.bfloat16(), 0.02 * beta),
        ]
        contenders: list[Contender] = [
            (f"pyad_edge, {level}", partial(at_level, level, features, queue, beta), bound)
            for level in levels
        ]
        for peer, run, columns, tolerance in peers:
            if peer == "torch, exp and sum" and beta > 80:
                benchmark.skip(f"{name}, {peer}", "float32 overflows from beta = 89 on")
                continue
            contenders.append((peer, partial(run, rows, columns, beta), tolerance))
        benchmark.case(
            name, reference(features, queue, beta=beta), contenders, flop=2.0 * q * Q * D
        )
        ops.set_cpu_level(fastest)
    benchmark.finish()


if __name__ == "__main__":
    main()
