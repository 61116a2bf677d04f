"""anomaly_map on a CUDA device beside torch: interpolate, two convolutions, maximum.

python benchmarks/kernels/cuda_anomaly_map.py
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from on_device import BATCHES, current_stream, device_benchmark, device_case
from torch.nn import functional

from pyad_edge.ops import cuda
from pyad_edge.reference.anomaly_map import anomaly_map as reference

SIGMA = 4.0
CASES = [((28, 28), (224, 224)), ((60, 80), (480, 640))]


def mirrored(size: int, radius: int, device: torch.device) -> torch.Tensor:
    """Indices that continue an axis on both sides as SciPy's mode "reflect" does."""
    at = torch.arange(-radius, size + radius, device=device) % (2 * size)
    return torch.minimum(at, 2 * size - 1 - at)


def with_pyad_edge(scores: torch.Tensor, **settings: Any) -> torch.Tensor:
    maps: torch.Tensor = cuda.anomaly_map(scores, stream=current_stream(), **settings)[0]
    return maps


def with_torch(scores: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    radius = int(4 * SIGMA + 0.5)
    offsets = torch.arange(-radius, radius + 1, device=scores.device, dtype=torch.float64)
    weights = torch.exp(-0.5 * (offsets / SIGMA) ** 2)
    weights = (weights / weights.sum()).float()
    up = functional.interpolate(scores[:, None], size, mode="bilinear", align_corners=False)
    up = up[:, :, mirrored(size[0], radius, up.device)]
    up = functional.conv2d(up, weights[None, None, :, None])
    up = up[:, :, :, mirrored(size[1], radius, up.device)]
    maps = functional.conv2d(up, weights[None, None, None, :])[:, 0]
    maps.amax(dim=(1, 2))
    return maps


def main() -> None:
    benchmark = device_benchmark("anomaly_map: patch scores to a smooth map and its maximum")
    rng = np.random.default_rng(0)
    for grid, size in CASES:
        one = rng.random((1, *grid), np.float32)
        expected = reference(one, size=size, sigma=SIGMA)[0]
        for N in BATCHES:
            name = f"{N} x {grid[1]}x{grid[0]} -> {size[1]}x{size[0]}"
            scores = torch.from_numpy(one).cuda().repeat(N, 1, 1)
            out = torch.empty((N, *size), device="cuda"), torch.empty(N, device="cuda")
            workspace = cuda.anomaly_map_workspace(N, size=size)
            settings = {"size": size, "sigma": SIGMA, "out": out, "workspace": workspace}
            device_case(
                benchmark,
                name,
                expected,
                [
                    ("pyad_edge", partial(with_pyad_edge, scores, **settings), 1e-5),
                    ("torch", partial(with_torch, scores, size), 1e-5),
                ],
                moved=scores.nbytes + out[0].nbytes,
            )
    benchmark.finish()


if __name__ == "__main__":
    main()
