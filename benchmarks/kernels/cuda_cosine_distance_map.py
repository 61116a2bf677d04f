"""cosine_distance_map on a CUDA device beside the chain in torch.

python benchmarks/kernels/cuda_cosine_distance_map.py
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from cosine_distance_map import CASES, SIDE, SIGMA, blurs, features, with_torch
from on_device import BATCHES, device_benchmark, note_rate

from pyad_edge.ops import cuda
from pyad_edge.reference.cosine_distance_map import cosine_distance_map as reference


def with_pyad_edge(
    encoder: Sequence[torch.Tensor], decoder: Sequence[torch.Tensor], **settings: Any
) -> torch.Tensor:
    maps: torch.Tensor = cuda.cosine_distance_map(encoder, decoder, **settings)[0]
    return maps


def main() -> None:
    benchmark = device_benchmark("cosine_distance_map: pairs of feature maps to one smooth map")
    size = (SIDE, SIDE)
    for case, levels in CASES:
        one = features(levels)
        expected = reference(*one, size=size, sigma=SIGMA)[0]
        for N in BATCHES:
            name = f"{N} x {case}"
            encoder, decoder = (
                [torch.from_numpy(f).cuda().repeat(N, 1, 1, 1) for f in side] for side in one
            )
            statistics = [torch.empty(N, device="cuda") for _ in range(2)]
            out = (torch.empty((N, *size), device="cuda"), *statistics)
            grids = [(h, w) for _, h, w in levels]
            settings = {
                "size": size,
                "sigma": SIGMA,
                "out": out,
                "workspace": cuda.cosine_distance_map_workspace(N, grids, size=size),
            }
            pairs = list(zip(encoder, decoder, strict=True))
            benchmark.case(
                name,
                expected,
                [
                    ("pyad_edge", partial(with_pyad_edge, encoder, decoder, **settings), 1e-5),
                    *(
                        (peer, partial(with_torch, pairs, blur), 1e-5)
                        for peer, blur in blurs("cuda").items()
                    ),
                ],
            )
            moved = sum(a.nbytes + b.nbytes for a, b in pairs) + out[0].nbytes
            note_rate(benchmark, name, moved)
    benchmark.finish()


if __name__ == "__main__":
    main()
