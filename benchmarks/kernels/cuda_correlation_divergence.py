"""correlation_divergence on a CUDA device beside the straightforward forms in torch.

python benchmarks/kernels/cuda_correlation_divergence.py
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from correlation_divergence import CASES, InPlace, Plain, inputs_of
from on_device import current_stream, device_benchmark, device_case

from pyad_edge.ops import cuda
from pyad_edge.reference.correlation_divergence import correlation_divergence as reference


def with_pyad_edge(arrays: list[torch.Tensor], **settings: Any) -> torch.Tensor:
    divergence: torch.Tensor = cuda.correlation_divergence(
        *arrays, **settings, stream=current_stream()
    )[0]
    return divergence


def main() -> None:
    benchmark = device_benchmark("correlation_divergence: symmetric KL of attention and a Gaussian")
    for name, N, side, d, inter in CASES:
        arrays = inputs_of(N, side, d, inter)
        on_device = [torch.from_numpy(array).cuda() for array in arrays]
        shape = arrays[2].shape
        out = (
            torch.empty((shape[0], shape[2]), device="cuda"),
            torch.empty(shape, device="cuda"),
        )
        device_case(
            benchmark,
            name,
            reference(*arrays, grid=(side, side))[0],
            [
                (
                    "pyad_edge",
                    partial(with_pyad_edge, on_device, grid=(side, side), out=out),
                    1e-5,
                ),
                ("torch, as the formulas read", Plain(arrays, side, "cuda").run, 1e-4),
                ("torch, in place", InPlace(arrays, side, "cuda").run, 1e-4),
            ],
            moved=float(sum(array.nbytes for array in arrays) + sum(o.nbytes for o in out)),
        )
    benchmark.finish()


if __name__ == "__main__":
    main()
