"""greedy_coreset at every CPU level beside the two public algorithms, in torch.

    python benchmarks/kernels/greedy_coreset.py

160,000 patches of real pictures, projected to 128 dims; 1 % and 10 % of them. The peers' loops are
written from their published algorithms: anomalib's k-center (a pairwise distance of all points to
one, each pick) and the sampler of the official PatchCore (matrix products with all norms computed
anew, each pick). Both cost the same for every pick, so they are timed at fewer picks and
multiplied, and their names say so; ``--full`` lets them run to the end at 1 %. A third peer is the
loop as one would write it with care: norms kept, one matrix-vector product, in place.

All picks of ours must be those of the reference. A peer's first picks must be; later ones part by
its rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from ceilings import peak
from compare import Benchmark, Contender
from numpy.typing import NDArray

from pyad_edge import ops
from pyad_edge.reference.greedy_coreset import greedy_coreset as reference

Array = NDArray[np.float32]
Picks = NDArray[np.int64]

P = 128
IN_8_BITS = ("avx512amx", "avx512vnni", "avx2vnni")  # levels that screen so
CHECKED = 16  # picks of a peer that are compared, and picks that it is timed with


def generated_points(rng: np.random.Generator, N: int) -> Array:
    """Like projected features: a few underlying directions and noise."""
    directions = rng.standard_normal((16, P))
    values = rng.standard_normal((N, 16)) @ directions + rng.standard_normal((N, P))
    return values.astype(np.float32)


def anomalib_loop(points: torch.Tensor, start: torch.Tensor, count: int) -> Picks:
    """k-center as anomalib does it: one pairwise distance of all points to the last pick."""
    nearest = start.sqrt()[:, None]
    picks = []
    with torch.inference_mode():
        for _ in range(count):
            pick = int(torch.argmax(nearest))
            picks.append(pick)
            distances = torch.nn.functional.pairwise_distance(points, points[pick : pick + 1])
            nearest = torch.minimum(nearest, distances[:, None])
            nearest[pick] = 0.0
    return np.array(picks)


def official_loop(points: torch.Tensor, start: torch.Tensor, count: int) -> Picks:
    """The official PatchCore's sampler: products, and the norms of all points, for every pick."""

    def distances_to(row: torch.Tensor) -> torch.Tensor:
        squares = torch.bmm(points[:, None, :], points[:, :, None]).reshape(-1, 1)
        square = torch.bmm(row[:, None, :], row[:, :, None]).reshape(1, -1)
        return (squares + square - 2.0 * points.mm(row.T)).clamp(min=0.0).sqrt()

    nearest = start.sqrt()[:, None]
    picks = []
    with torch.inference_mode():
        for _ in range(count):
            pick = int(torch.argmax(nearest))
            picks.append(pick)
            candidates = torch.cat((nearest, distances_to(points[pick : pick + 1])), dim=1)
            nearest = candidates.min(dim=1).values[:, None]
    return np.array(picks)


def careful_loop(
    norms: torch.Tensor, points: torch.Tensor, start: torch.Tensor, count: int
) -> Picks:
    """Norms kept, one matrix-vector product for each pick, everything in place."""
    nearest, distances = start.clone(), torch.empty_like(start)
    picks = []
    with torch.inference_mode():
        for _ in range(count):
            pick = int(nearest.argmax())
            picks.append(pick)
            torch.addmv(norms, points, points[pick], alpha=-2.0, out=distances)
            distances += norms[pick]
            torch.minimum(nearest, distances, out=nearest)
            nearest[pick] = -torch.inf
    return np.array(picks)


def peers(
    points: torch.Tensor, start: torch.Tensor, count: int
) -> list[tuple[str, Callable[[], Picks]]]:
    """All of them, for so many picks."""
    loops: dict[str, Callable[[torch.Tensor, torch.Tensor, int], Picks]] = {
        "anomalib's k-center": anomalib_loop,
        "official sampler": official_loop,
        "one product per pick": partial(careful_loop, (points * points).sum(dim=1)),
    }
    return [(name, partial(loop, points, start, count)) for name, loop in loops.items()]


def first_picks(run: Callable[[], Picks]) -> Picks:
    return run()[:CHECKED]


def with_pyad_edge(level: str, points: Array, start: Array, count: int) -> Picks:
    ops.set_cpu_level(level)
    return ops.greedy_coreset(points, count=count, initial=start)


def case(
    benchmark: Benchmark,
    name: str,
    points: Array,
    count: int,
    *,
    known: Picks,
    levels: Sequence[str],
) -> None:
    """One case.

    Args:
        known: the reference's picks, as many as it made: all, or the first of them.
        levels: that take part, the fastest first.
    """
    fastest = ops.cpu_level()
    start = ops.start_distances(points, seed=0)
    N = len(points)
    contenders: list[Contender] = []
    ceilings, scale = {}, {}
    found = [with_pyad_edge(level, points, start, count) for level in levels]
    for level, picks in zip(levels, found, strict=True):
        if not np.array_equal(picks, found[0]) or not np.array_equal(picks[: len(known)], known):
            raise SystemExit(f"{name}: {level} picks other rows; a wrong kernel is not timed.")
        run = partial(with_pyad_edge, level, points, start, count)
        contenders.append((f"pyad_edge, {level}", partial(first_picks, run), 0.0))
        ceilings[f"pyad_edge, {level}"] = peak(level, "int8" if level in IN_8_BITS else "float32")
    ops.set_cpu_level(fastest)
    fma = peak(fastest)
    tensor, begin = torch.from_numpy(points), torch.from_numpy(start)
    full = benchmark.options.full and count * N < 3e8
    timed = count if full else CHECKED
    for peer, loop in peers(tensor, begin, timed):
        label = peer if full else f"{peer} ({timed} picks x{count / timed:g})"
        contenders.append((label, partial(first_picks, loop), 0.0))
        scale[label] = count / timed
        ceilings[label] = fma
    benchmark.case(
        name,
        found[0][:CHECKED],
        contenders,
        flop=2.0 * N * P * count,
        ceiling=ceilings,
        scale=scale,
    )
    ops.set_cpu_level(fastest)


def main() -> None:
    benchmark = Benchmark("greedy_coreset: exact greedy k-center, 128 projected dims")
    torch.set_num_threads(benchmark.options.threads)
    points = generated_points(np.random.default_rng(0), 16_384)
    start = ops.start_distances(points, seed=0)
    known = reference(points, count=164, initial=start)
    fastest = ops.cpu_level()
    levels = sorted(ops.available_cpu_levels(), key=lambda level: level != fastest)
    case(benchmark, "generated, 164 of 16,384", points, 164, known=known, levels=levels)
    real = benchmark.features()
    if real is not None:
        start = ops.start_distances(real.points, seed=0)
        known = reference(real.points, count=200, initial=start)
        N = len(real.points)
        for count, some in ((N // 100, levels), (N // 10, levels[:1])):
            name = f"real, {count:,} of {N:,}"
            case(benchmark, name, real.points, count, known=known, levels=some)
    benchmark.finish()


if __name__ == "__main__":
    main()
