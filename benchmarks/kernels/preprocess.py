"""preprocess beside torchvision's antialiased resize and Pillow's.

    python benchmarks/kernels/preprocess.py

The peers round to grey levels after each pass; they may differ from the reference by one level.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from compare import Benchmark
from PIL import Image
from torchvision.transforms.v2 import functional

from pyad_edge import ops
from pyad_edge.reference.preprocess import preprocess as reference

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CASES = [
    ((224, 224), (224, 224)),
    ((480, 640), (224, 224)),
    ((1080, 1920), (256, 256)),
    ((100, 100), (256, 256)),
]


def arithmetic(side: tuple[int, int], size: tuple[int, int]) -> float:
    """Operations of both passes: every output's taps, a multiply-add being two, three channels."""
    taps = [2 * max(1.0, a / b) for a, b in zip(side, size, strict=True)]
    return 6.0 * size[1] * (side[0] * taps[1] + size[0] * taps[0])


def with_torchvision(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    tensor = torch.from_numpy(image).permute(2, 0, 1)[None]
    resized = functional.resize(tensor, list(size), antialias=True).float().div_(255.0)
    normal = functional.normalize(resized, MEAN, STD, inplace=True)
    result: np.ndarray = normal.contiguous().numpy()
    return result


def with_pillow(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    resized = Image.fromarray(image).resize(size[::-1], Image.Resampling.BILINEAR)
    scale = 1.0 / (255.0 * np.asarray(STD, np.float32))
    offset = -np.asarray(MEAN, np.float32) / np.asarray(STD, np.float32)
    values = np.asarray(resized) * scale.astype(np.float32) + offset
    return np.ascontiguousarray(values.transpose(2, 0, 1)[None])


def main() -> None:
    benchmark = Benchmark("preprocess: uint8 HWC to normalised float32 CHW")
    torch.set_num_threads(benchmark.options.threads)
    rng = np.random.default_rng(0)
    one_level = 1.0 / (255.0 * min(STD)) + 1e-5
    for side, size in CASES:
        image = rng.integers(0, 256, (*side, 3), np.uint8)
        out = np.empty((1, 3, *size), np.float32)
        settings: dict[str, Any] = {"resize": size, "mean": MEAN, "std": STD}
        benchmark.case(
            f"{side[1]}x{side[0]} -> {size[1]}x{size[0]}",
            reference(image, **settings),
            [
                ("pyad_edge", partial(ops.preprocess, image, out=out, **settings), 1e-5),
                ("torchvision (antialias)", partial(with_torchvision, image, size), one_level),
                ("Pillow + NumPy", partial(with_pillow, image, size), one_level),
            ],
            flop=arithmetic(side, size),
            moved=image.nbytes + out.nbytes,
        )
    benchmark.finish()


if __name__ == "__main__":
    main()
