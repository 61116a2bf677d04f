"""anomaly_map beside torch + SciPy and beside OpenCV.

python benchmarks/kernels/anomaly_map.py
"""

from __future__ import annotations

from functools import partial

import cv2
import numpy as np
import torch
from compare import Benchmark
from scipy.ndimage import gaussian_filter, zoom

from pyad_edge import ops
from pyad_edge.reference.anomaly_map import anomaly_map as reference

SIGMA = 4.0
CASES = [((28, 28), (224, 224)), ((32, 32), (256, 256)), ((60, 80), (480, 640))]


def with_pyad_edge(scores: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return ops.anomaly_map(scores, size=size, sigma=SIGMA)[0]


def with_scipy(scores: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    up = torch.nn.functional.interpolate(
        torch.from_numpy(scores)[:, None], size, mode="bilinear", align_corners=False
    )
    smooth: np.ndarray = gaussian_filter(up[0, 0].numpy(), SIGMA)
    smooth.max()
    return smooth[None]


def with_scipy_alone(scores: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """SciPy's zoom in grid_mode with mode="nearest" is bilinear without aligned corners."""
    factors = [a / b for a, b in zip(size, scores.shape[1:], strict=True)]
    up = zoom(scores[0], factors, order=1, mode="nearest", grid_mode=True)
    smooth: np.ndarray = gaussian_filter(up, SIGMA)
    smooth.max()
    return smooth[None]


def with_opencv(scores: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    up = cv2.resize(scores[0], size[::-1], interpolation=cv2.INTER_LINEAR)
    side = 2 * int(4 * SIGMA + 0.5) + 1
    smooth: np.ndarray = cv2.GaussianBlur(up, (side, side), SIGMA, borderType=cv2.BORDER_REFLECT)
    smooth.max()
    return smooth[None]


def main() -> None:
    benchmark = Benchmark("anomaly_map: patch scores to a smooth map and its maximum, sigma 4")
    torch.set_num_threads(benchmark.options.threads)
    cv2.setNumThreads(benchmark.options.threads)
    rng = np.random.default_rng(0)
    for grid, size in CASES:
        scores = rng.random((1, *grid), np.float32)
        benchmark.case(
            f"{grid[1]}x{grid[0]} -> {size[1]}x{size[0]}",
            reference(scores, size=size, sigma=SIGMA)[0],
            [
                ("pyad_edge", partial(with_pyad_edge, scores, size), 1e-5),
                ("SciPy zoom + gaussian_filter", partial(with_scipy_alone, scores, size), 1e-5),
                ("torch + SciPy gaussian_filter", partial(with_scipy, scores, size), 1e-5),
                ("OpenCV", partial(with_opencv, scores, size), 1e-5),
            ],
            moved=scores.nbytes + 4 * size[0] * size[1],
        )
    benchmark.finish()


if __name__ == "__main__":
    main()
