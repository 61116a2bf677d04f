"""patch_aggregation beside the literal form in torch: unfold, interpolate, adaptive average pools.

python benchmarks/kernels/patch_aggregation.py
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from compare import Benchmark
from torch.nn import functional

from pyad_edge.ops import AggregationPlan
from pyad_edge.reference.patch_aggregation import patch_aggregation as reference

CASES = [
    ("ResNet-18, 224 px", [(128, 28, 28), (256, 14, 14)], 384),
    ("ResNet-18, 256 px", [(128, 32, 32), (256, 16, 16)], 384),
    ("ResNet-18 up-sized, 224 px", [(128, 28, 28), (256, 14, 14)], 1024),
    ("WideResNet-50-2, 224 px", [(512, 28, 28), (1024, 14, 14)], 1024),
]


def official(features: Sequence[torch.Tensor], dim: int) -> np.ndarray:
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
    pooled_again = functional.adaptive_avg_pool1d(stacked, dim)
    result: np.ndarray = pooled_again.reshape(N, h, w, dim).numpy()
    return result


def average(features: Sequence[torch.Tensor]) -> np.ndarray:
    size = features[0].shape[2:]
    levels = [functional.avg_pool2d(feature, 3, 1, 1) for feature in features]
    levels[1:] = [
        functional.interpolate(level, size, mode="bilinear", align_corners=False)
        for level in levels[1:]
    ]
    result: np.ndarray = torch.cat(levels, dim=1).permute(0, 2, 3, 1).contiguous().numpy()
    return result


def main() -> None:
    torch.set_grad_enabled(False)
    benchmark = Benchmark("patch_aggregation: feature maps to patch descriptors")
    torch.set_num_threads(benchmark.options.threads)
    rng = np.random.default_rng(0)
    for name, levels, dim in CASES:
        features = [rng.standard_normal((1, *level), np.float32) for level in levels]
        tensors = [torch.from_numpy(feature) for feature in features]
        channels = [level[0] for level in levels]
        official_form = {"variant": "official", "pre_dim": dim, "target_dim": dim}
        variants: list[tuple[dict[str, Any], partial[np.ndarray]]] = [
            (official_form, partial(official, tensors, dim)),
            ({"variant": "average"}, partial(average, tensors)),
        ]
        for settings, peer in variants:
            name_of_peer = f"torch, {'unfold and pool' if peer.func is official else 'avg_pool2d'}"
            plan = AggregationPlan(channels, **settings)
            benchmark.case(
                f"{name}, {settings['variant']}",
                reference(features, **settings),
                [
                    ("pyad_edge", partial(plan, features, out=plan(features)), 1e-5),
                    (name_of_peer, peer, 1e-5),
                ],
                moved=sum(feature.nbytes for feature in features) + plan(features).nbytes,
            )
    benchmark.finish()


if __name__ == "__main__":
    main()
