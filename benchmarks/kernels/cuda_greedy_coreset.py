"""greedy_coreset on a CUDA device beside the public algorithms on the same device.

    python benchmarks/kernels/cuda_greedy_coreset.py

Cases and peers are those of greedy_coreset.py; a peer costs the same for every pick, so it is timed
with few and multiplied, and its name says so. The picks must be those of the CPU form.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from greedy_coreset import CHECKED, Picks, first_picks, generated_points, peers
from on_device import device_benchmark

from pyad_edge import ops
from pyad_edge.ops import cuda


def with_pyad_edge(points: torch.Tensor, start: torch.Tensor, count: int) -> Picks:
    picks = cuda.greedy_coreset(points, count=count, initial=start)
    found: Picks = torch.as_tensor(picks).cpu().numpy()
    return found


def main() -> None:
    benchmark = device_benchmark("greedy_coreset: exact greedy k-center, 128 projected dims")
    if not hasattr(cuda, "greedy_coreset"):
        benchmark.skip("all cases", "there is no CUDA form yet")
        return
    real = benchmark.features()
    if real is None:
        kind, points = "generated", generated_points(np.random.default_rng(0), 160_000)
    else:
        kind, points = "real", real.points
    start = ops.start_distances(points, seed=0)
    on_device, initial = torch.from_numpy(points).cuda(), torch.from_numpy(start).cuda()
    for count in (len(points) // 100, len(points) // 10):
        name = f"{kind}, {count:,} of {len(points):,}"
        expected = ops.greedy_coreset(points, count=count, initial=start)
        ours = partial(with_pyad_edge, on_device, initial, count)
        if not np.array_equal(ours(), expected):
            raise SystemExit(f"{name}: the device picks other rows; a wrong kernel is not timed.")
        contenders = [("pyad_edge", partial(first_picks, ours), 0.0)]
        scale = {}
        for peer, loop in peers(on_device, initial, CHECKED):
            label = f"{peer} ({CHECKED} picks x{count / CHECKED:g})"
            contenders.append((label, partial(first_picks, loop), 0.0))
            scale[label] = count / CHECKED
        flop = 2.0 * points.size * count
        benchmark.case(name, expected[:CHECKED], contenders, flop=flop, scale=scale)
    benchmark.finish()


if __name__ == "__main__":
    main()
