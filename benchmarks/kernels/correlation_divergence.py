"""correlation_divergence at every CPU level beside the straightforward forms in torch.

python benchmarks/kernels/correlation_divergence.py

FOD's sizes at 256 px: 32 x 32 patches with d_m = 256 and 16 x 16 with 512, eight heads. The peers
form (heads, L, L) tensors: as FOD's formulas read, and in place with a separable target. FLOP are
those of our arithmetic: a pair takes 2 d for its logit and 37 for exp, log and the sums. None of
them is fused, so half of the fused peak is the bound. Scale, coordinates and layouts
of the peers are made beforehand.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from ceilings import peak
from compare import Benchmark, Contender
from numpy.typing import NDArray

from pyad_edge import ops
from pyad_edge.reference.correlation_divergence import correlation_divergence as reference

Array = NDArray[np.float32]

HEADS = 8
EPS = 1e-4
FORMS = ("avx512", "avx2", "neon", "portable")  # other levels run one of these
ELEMENTWISE = 37  # floating-point operations of a pair beside its dot product
CASES = [  # name, N, side of the grid, d, keys of the reference
    ("32 x 32, d = 32, intra", 1, 32, 32, False),
    ("32 x 32, d = 32, inter", 1, 32, 32, True),
    ("16 x 16, d = 64, intra", 1, 16, 64, False),
    ("16 x 16, d = 64, inter, N = 4", 4, 16, 64, True),
]


def inputs_of(N: int, side: int, d: int, inter: bool) -> tuple[Array, Array, Array, Array]:
    """Queries and keys of a trained scale; sigma as FOD bounds it, in (0, 2)."""
    rng = np.random.default_rng(0)
    L = side * side
    queries = rng.standard_normal((N, HEADS, L, d), np.float32)
    keys = rng.standard_normal((HEADS, L, d) if inter else (N, HEADS, L, d), np.float32)
    raw = rng.standard_normal((2, N, HEADS, L))
    sigma_x, sigma_y = (3 ** (1 / (1 + np.exp(-5 * raw)) + 1e-5) - 1).astype(np.float32)
    return queries, keys, sigma_x, sigma_y


def at_level(level: str, arrays: tuple[Array, Array, Array, Array], side: int) -> Array:
    ops.set_cpu_level(level)
    return ops.correlation_divergence(*arrays, grid=(side, side))[0]


class Plain:
    """As FOD's formulas read."""

    def __init__(
        self, arrays: tuple[Array, Array, Array, Array], side: int, device: str = "cpu"
    ) -> None:
        self.q, self.k, self.x, self.y = (torch.from_numpy(array).to(device) for array in arrays)
        self.scale = self.q.shape[-1] ** -0.5
        at = torch.arange(side * side, device=device)
        y, x = at // side, at % side
        self.dx = (x[:, None] - x).float()
        self.dy = (y[:, None] - y).float()

    @torch.inference_mode()
    def run(self) -> torch.Tensor:
        s = torch.softmax(self.q @ self.k.transpose(-1, -2) * self.scale, -1)
        t = torch.exp(
            -(self.dx**2) / (2 * self.x[..., None] ** 2) - self.dy**2 / (2 * self.y[..., None] ** 2)
        )
        t = t / t.sum(-1, keepdim=True)
        forward = (s * (torch.log(s + EPS) - torch.log(t + EPS))).sum(-1)
        backward = (t * (torch.log(t + EPS) - torch.log(s + EPS))).sum(-1)
        divergence: torch.Tensor = (forward + backward).mean(1)
        return divergence


class InPlace:
    """The target from two axes, one logarithm of each matrix, buffers reused."""

    def __init__(
        self, arrays: tuple[Array, Array, Array, Array], side: int, device: str = "cpu"
    ) -> None:
        self.q, self.k, self.x, self.y = (torch.from_numpy(array).to(device) for array in arrays)
        self.k = self.k.transpose(-1, -2).contiguous()
        self.scale = self.q.shape[-1] ** -0.5
        N, heads, L, _ = self.q.shape
        self.side = side
        at = torch.arange(L, device=device)
        axis = torch.arange(side, device=device)
        self.dx2 = -0.5 * (axis - (at % side)[:, None]).float() ** 2
        self.dy2 = -0.5 * (axis - (at // side)[:, None]).float() ** 2
        self.s = torch.empty((N, heads, L, L), device=device)
        self.t = torch.empty((N, heads, L, L), device=device)
        self.difference = torch.empty((N, heads, L, L), device=device)

    @torch.inference_mode()
    def run(self) -> torch.Tensor:
        s, t, difference = self.s, self.t, self.difference
        torch.matmul(self.q * self.scale, self.k, out=s)
        torch.softmax(s, -1, out=s)
        columns = torch.softmax(self.dx2 / (self.x * self.x)[..., None], -1)
        rows = torch.softmax(self.dy2 / (self.y * self.y)[..., None], -1)
        grid = t.view(*t.shape[:-1], self.side, self.side)
        torch.mul(rows[..., :, None], columns[..., None, :], out=grid)
        torch.sub(s, t, out=difference)
        s.add_(EPS)
        t.add_(EPS)
        difference.mul_(s.div_(t).log_())
        divergence: torch.Tensor = difference.sum(-1).mean(1)
        return divergence


def main() -> None:
    benchmark = Benchmark("correlation_divergence: symmetric KL of attention and a Gaussian")
    torch.set_num_threads(benchmark.options.threads)
    fastest = ops.cpu_level()
    levels = [level for level in FORMS if level in ops.available_cpu_levels()]
    for name, N, side, d, inter in CASES:
        arrays = inputs_of(N, side, d, inter)
        contenders: list[Contender] = [
            (f"pyad_edge, {level}", partial(at_level, level, arrays, side), 1e-5)
            for level in levels
        ]
        contenders += [
            ("torch, as the formulas read", Plain(arrays, side).run, 1e-4),
            ("torch, in place", InPlace(arrays, side).run, 1e-4),
        ]
        pairs = N * HEADS * side**4
        expected = reference(*arrays, grid=(side, side))[0]
        peaks = {f"pyad_edge, {level}": peak(level) for level in levels}
        for peer, *_ in contenders[len(levels) :]:
            peaks[peer] = peak(fastest)
        flop = pairs * (2.0 * d + ELEMENTWISE)
        benchmark.case(name, expected, contenders, flop=flop, ceiling=peaks)
        ops.set_cpu_level(fastest)
    benchmark.finish()


if __name__ == "__main__":
    main()
