"""preprocess on a CUDA device beside torchvision's antialiased resize there.

    python benchmarks/kernels/cuda_preprocess.py

torchvision rounds to grey levels; it may differ from the reference by one level.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from on_device import BATCHES, current_stream, device_benchmark, device_case
from torchvision.transforms.v2 import functional

from pyad_edge.ops import cuda
from pyad_edge.reference.preprocess import preprocess as reference

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CASES = [((480, 640), (224, 224)), ((1080, 1920), (256, 256)), ((3000, 4096), (512, 512))]


def with_pyad_edge(images: torch.Tensor, **settings: Any) -> torch.Tensor:
    result: torch.Tensor = cuda.preprocess(images, stream=current_stream(), **settings)
    return result


def with_torchvision(images: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    resized = functional.resize(images.permute(0, 3, 1, 2), list(size), antialias=True)
    normal: torch.Tensor = functional.normalize(
        resized.float().div_(255.0), MEAN, STD, inplace=True
    )
    return normal.contiguous()


def main() -> None:
    benchmark = device_benchmark("preprocess: uint8 HWC to normalised float32 CHW")
    rng = np.random.default_rng(0)
    one_level = 1.0 / (255.0 * min(STD)) + 1e-5
    for side, size in CASES:
        one = rng.integers(0, 256, (*side, 3), np.uint8)
        settings: dict[str, Any] = {"resize": size, "mean": MEAN, "std": STD}
        expected = reference(one, **settings)
        for N in BATCHES:
            name = f"{N} x {side[1]}x{side[0]} -> {size[1]}x{size[0]}"
            images = torch.from_numpy(one).cuda().repeat(N, 1, 1, 1)
            out = torch.empty((N, 3, *size), device="cuda")
            device_case(
                benchmark,
                name,
                expected,
                [
                    ("pyad_edge", partial(with_pyad_edge, images, out=out, **settings), 1e-5),
                    ("torchvision (antialias)", partial(with_torchvision, images, size), one_level),
                ],
                moved=images.nbytes + out.nbytes,
            )
    benchmark.finish()


if __name__ == "__main__":
    main()
