"""greedy_coreset at every CPU level beside the loop of public code: one pass per pick, in torch.

python benchmarks/kernels/greedy_coreset.py --rounds 10

All picks of ours must be those of the reference. The peer's first hundred must be; later ones part
by its rounding. ``benchmarks/fit_time.py`` does the same on real features, at full size.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from compare import Benchmark
from numpy.typing import NDArray

from pyad_edge import ops
from pyad_edge.reference.greedy_coreset import greedy_coreset as reference

Array = NDArray[np.float32]

P = 128
CASES = [(16_384, 164), (65_536, 655)]
CHECKED = 100


def points_of(rng: np.random.Generator, N: int) -> Array:
    """Projected features: a few underlying directions and noise."""
    directions = rng.standard_normal((16, P))
    values = rng.standard_normal((N, 16)) @ directions + rng.standard_normal((N, P))
    return values.astype(np.float32)


def with_torch(
    points: torch.Tensor, norms: torch.Tensor, start: torch.Tensor, count: int
) -> NDArray[np.int64]:
    nearest = start.clone()
    distances = torch.empty_like(nearest)
    picks = np.empty(count, np.int64)
    with torch.inference_mode():
        for pick in range(count):
            row = int(nearest.argmax())
            picks[pick] = row
            torch.addmv(norms, points, points[row], alpha=-2.0, out=distances)
            distances += norms[row]
            torch.minimum(nearest, distances, out=nearest)
            nearest[row] = -torch.inf
    return picks[:CHECKED]


def with_pyad_edge(level: str, points: Array, start: Array, count: int) -> NDArray[np.int64]:
    ops.set_cpu_level(level)
    return ops.greedy_coreset(points, count=count, initial=start)[:CHECKED]


def main() -> None:
    benchmark = Benchmark("greedy_coreset: exact greedy k-center, 128 projected dims")
    torch.set_num_threads(benchmark.options.threads)
    fastest = ops.cpu_level()
    levels = sorted(ops.available_cpu_levels(), key=lambda level: level != fastest)
    for N, count in CASES:
        points = points_of(np.random.default_rng(0), N)
        start = ops.start_distances(points, seed=0)
        expected = reference(points, count=count, initial=start)
        contenders: list[tuple[str, Callable[[], Any], float]] = []
        for level in levels:
            ops.set_cpu_level(level)
            if not np.array_equal(ops.greedy_coreset(points, count=count, initial=start), expected):
                raise SystemExit(f"{level} picks other rows; a wrong kernel is not timed.")
            run = partial(with_pyad_edge, level, points, start, count)
            contenders.append((f"pyad_edge, {level}", run, 0.0))
        tensor = torch.from_numpy(points)
        norms = (tensor * tensor).sum(dim=1)
        peer = partial(with_torch, tensor, norms, torch.from_numpy(start), count)
        contenders.append(("torch, one pass per pick", peer, 0.0))
        benchmark.case(f"{count} of {N:,}", expected[:CHECKED], contenders)
        ops.set_cpu_level(fastest)
    benchmark.finish()


if __name__ == "__main__":
    main()
