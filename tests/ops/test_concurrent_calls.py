"""Kernels called from several Python threads at once give each caller its own result."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from pyad_edge import ops


def work(seed: int) -> bytes:
    rng = np.random.default_rng(seed)
    side = 40 + seed  # every caller has its own sizes, so shared scratch would show
    image = rng.integers(0, 256, (side, side + 3, 3), np.uint8)
    batch = ops.preprocess(image, resize=(32, 32), mean=(0.5,) * 3, std=(0.2,) * 3)
    levels = [
        rng.standard_normal((2, 9, 8 + seed, 9), np.float32),
        rng.standard_normal((2, 14, 4, 5), np.float32),
    ]
    patches = ops.patch_aggregation(levels, pre_dim=40, target_dim=51)
    maps, maxima = ops.anomaly_map(patches[..., 0], size=(64, 60 + seed))
    return b"".join(array.tobytes() for array in (batch, patches, maps, maxima))


def test_results_do_not_depend_on_other_callers() -> None:
    alone = [work(seed) for seed in range(8)]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(5):
            assert list(pool.map(work, range(8))) == alone
