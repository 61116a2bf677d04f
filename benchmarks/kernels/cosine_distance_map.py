"""cosine_distance_map beside the chain in torch: cosine_similarity, interpolate, sum, Gaussian.

python benchmarks/kernels/cosine_distance_map.py
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from compare import Benchmark
from scipy.ndimage import gaussian_filter
from torch.nn import functional

from pyad_edge import ops
from pyad_edge.reference.cosine_distance_map import cosine_distance_map as reference

SIDE, SIGMA, RADIUS = 256, 4.0, 16
# The six pairs of ReContrast: two encoders, three levels each.
CASES = [
    ("ResNet-18, 256 px", 2 * [(64, 64, 64), (128, 32, 32), (256, 16, 16)]),
    ("WideResNet-50-2, 256 px", 2 * [(256, 64, 64), (512, 32, 32), (1024, 16, 16)]),
]

Blur = Callable[[torch.Tensor], torch.Tensor]


def features(levels: Sequence[tuple[int, int, int]]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Features of a ReLU, and what a decoder makes of them."""
    rng = np.random.default_rng(0)
    encoder = [np.maximum(rng.standard_normal((1, *level), np.float32), 0) for level in levels]
    noise = [np.float32(0.3) * rng.standard_normal(a.shape, np.float32) for a in encoder]
    return encoder, [a + b for a, b in zip(encoder, noise, strict=True)]


def with_pyad_edge(encoder: Sequence[np.ndarray], decoder: Sequence[np.ndarray]) -> np.ndarray:
    return ops.cosine_distance_map(encoder, decoder, size=(SIDE, SIDE), sigma=SIGMA)[0]


@torch.inference_mode()
def with_torch(pairs: Sequence[tuple[torch.Tensor, torch.Tensor]], blur: Blur) -> torch.Tensor:
    total = torch.zeros(1, device=pairs[0][0].device)
    for a, b in pairs:
        distances = 1 - functional.cosine_similarity(a, b, dim=1)
        total = total + functional.interpolate(
            distances[:, None], (SIDE, SIDE), mode="bilinear", align_corners=True
        )
    smooth = blur(total)
    smooth.amax((1, 2, 3))
    smooth.mean((1, 2, 3))
    return smooth[:, 0]


def blurs(device: str) -> dict[str, Blur]:
    """The same Gaussian in two forms, by what they are called in the table."""
    offsets = torch.arange(-RADIUS, RADIUS + 1)
    weights = torch.exp(-0.5 * (offsets / SIGMA) ** 2)
    weights /= weights.sum()
    at = (torch.arange(SIDE)[:, None] + offsets) % (2 * SIDE)
    matrix = torch.zeros(SIDE, SIDE).scatter_add_(
        1, torch.minimum(at, 2 * SIDE - 1 - at), weights.expand(SIDE, -1)
    )
    return {
        "torch, conv2d": partial(convolutions, weights.to(device)),
        "torch, Gaussian as matrix": partial(products, matrix.to(device)),
    }


def convolutions(weights: torch.Tensor, maps: torch.Tensor) -> torch.Tensor:
    """One per axis, borders mirrored about the edge of the border pixel."""
    for axis in (-1, -2):
        first = maps.narrow(axis, 0, RADIUS).flip(axis)
        last = maps.narrow(axis, SIDE - RADIUS, RADIUS).flip(axis)
        maps = torch.cat([first, maps, last], axis)
    maps = functional.conv2d(maps, weights.view(1, 1, 1, -1))
    return functional.conv2d(maps, weights.view(1, 1, -1, 1))


def products(matrix: torch.Tensor, maps: torch.Tensor) -> torch.Tensor:
    """A dense matrix per axis."""
    return matrix @ maps @ matrix.T


def scipy(maps: torch.Tensor) -> torch.Tensor:
    """As in ReContrast's public code, which knows one picture at a time."""
    return torch.from_numpy(gaussian_filter(maps[0, 0].numpy(), SIGMA))[None, None]


def main() -> None:
    benchmark = Benchmark("cosine_distance_map: pairs of feature maps to one smooth map, sigma 4")
    torch.set_num_threads(benchmark.options.threads)
    peers = {**blurs("cpu"), "torch + SciPy gaussian_filter": scipy}
    for name, levels in CASES:
        encoder, decoder = features(levels)
        pairs = [
            (torch.from_numpy(a), torch.from_numpy(b))
            for a, b in zip(encoder, decoder, strict=True)
        ]
        moved = sum(a.nbytes + b.nbytes for a, b in zip(encoder, decoder, strict=True))
        benchmark.case(
            name,
            reference(encoder, decoder, size=(SIDE, SIDE), sigma=SIGMA)[0],
            [
                ("pyad_edge", partial(with_pyad_edge, encoder, decoder), 1e-5),
                *((peer, partial(with_torch, pairs, blur), 1e-5) for peer, blur in peers.items()),
            ],
            moved=moved + 4 * SIDE * SIDE,
        )
        # Nearly all of that is read; "copy" counts bytes that are written as well.
        if (most := benchmark.session.ceilings.of("read", moved)) is not None:
            benchmark.note(name, **{f"ceiling of {most[0]}": f"{most[1]:.1f} GB/s"})
    benchmark.finish()


if __name__ == "__main__":
    main()
