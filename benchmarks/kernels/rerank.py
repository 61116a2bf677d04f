"""rerank beside NumPy and torch: candidates' rows gathered, subtracted, squared, summed.

    python benchmarks/kernels/rerank.py

Rows are random picks of a large bank, as an index proposes them: the time is that of fetching them.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from compare import Benchmark

from pyad_edge.ops import rerank
from pyad_edge.reference.rerank import rerank as reference

M = 200_000
CASES = [(784, 384, 32), (784, 1024, 32), (1024, 384, 128)]  # Q, D, candidates


def with_numpy(queries: np.ndarray, rows: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    differences = rows[candidates] - queries[:, None]
    squared: np.ndarray = np.einsum("qcd,qcd->qc", differences, differences).min(axis=1)
    return squared[:, None]


def with_torch(queries: torch.Tensor, rows: torch.Tensor, candidates: torch.Tensor) -> torch.Tensor:
    squared = (rows[candidates] - queries[:, None]).square_().sum(-1)
    return squared.min(dim=1, keepdim=True).values


def main() -> None:
    benchmark = Benchmark("rerank: the nearest of an index's candidates, canonical distance")
    torch.set_num_threads(benchmark.options.threads)
    rng = np.random.default_rng(0)
    for Q, D, c in CASES:
        rows = rng.random((M, D), np.float32)
        queries = rng.random((Q, D), np.float32)
        candidates = rng.integers(0, M, (Q, c))
        arrays = (queries, rows, candidates)
        benchmark.case(
            f"{Q} queries, {D} dims, {c} candidates",
            reference(*arrays)[0],
            [
                ("pyad_edge", lambda arrays=arrays: rerank(*arrays)[0], 0.0),
                ("NumPy", partial(with_numpy, *arrays), 1e-3),
                ("torch", partial(with_torch, *map(torch.from_numpy, arrays)), 1e-3),
            ],
            moved=4.0 * Q * c * D,
        )
    benchmark.finish()


if __name__ == "__main__":
    main()
