"""patch_aggregation on a CUDA device beside the literal form in torch there.

python benchmarks/kernels/cuda_patch_aggregation.py
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from on_device import BATCHES, current_stream, device_benchmark, device_case
from torch.nn import functional

from pyad_edge.ops import cuda
from pyad_edge.reference.patch_aggregation import patch_aggregation as reference

CASES = [
    ("ResNet-18, 224 px", [(128, 28, 28), (256, 14, 14)], 384),
    ("WideResNet-50-2, 224 px", [(512, 28, 28), (1024, 14, 14)], 1024),
]


def with_pyad_edge(features: Sequence[torch.Tensor], **settings: Any) -> torch.Tensor:
    result: torch.Tensor = cuda.patch_aggregation(features, stream=current_stream(), **settings)
    return result


def unfold_and_pool(features: Sequence[torch.Tensor], dim: int) -> torch.Tensor:
    N, _, h, w = features[0].shape
    pooled = []
    for feature in features:
        _, C, h_l, w_l = feature.shape
        windows = functional.unfold(feature, 3, padding=1).reshape(N, C * 9, h_l, w_l)
        if (h_l, w_l) != (h, w):
            windows = functional.interpolate(windows, (h, w), mode="bilinear", align_corners=False)
        rows = windows.permute(0, 2, 3, 1).reshape(N * h * w, 1, C * 9)
        pooled.append(functional.adaptive_avg_pool1d(rows, dim))
    stacked = torch.stack(pooled, dim=1).reshape(N * h * w, 1, -1)
    return functional.adaptive_avg_pool1d(stacked, dim).reshape(N, h, w, dim)


def main() -> None:
    benchmark = device_benchmark("patch_aggregation: feature maps to patch descriptors")
    rng = np.random.default_rng(0)
    for case, levels, dim in CASES:
        one = [rng.standard_normal((1, *level), np.float32) for level in levels]
        settings: dict[str, Any] = {"pre_dim": dim, "target_dim": dim}
        expected = reference(one, **settings)
        for N in BATCHES:
            name = f"{case}, {N} pictures"
            features = [torch.from_numpy(level).cuda().repeat(N, 1, 1, 1) for level in one]
            out = torch.empty((N, *expected.shape[1:]), device="cuda")
            device_case(
                benchmark,
                name,
                expected,
                [
                    ("pyad_edge", partial(with_pyad_edge, features, out=out, **settings), 1e-5),
                    ("torch, unfold and pool", partial(unfold_and_pool, features, dim), 1e-5),
                ],
                moved=sum(feature.nbytes for feature in features) + out.nbytes,
            )
    benchmark.finish()


if __name__ == "__main__":
    main()
