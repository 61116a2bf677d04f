"""nearest_neighbors at every CPU level beside faiss's exact index and torch.

python benchmarks/kernels/nearest_neighbors.py

faiss (IndexFlatL2) takes part where `faiss-cpu` is installed. The peers' distances are rounded
differently; ours must be those of the reference to the last bit, and so must the rows.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from compare import Benchmark
from numpy.typing import NDArray

from pyad_edge import ops
from pyad_edge.reference.nearest_neighbors import nearest_neighbors as reference

faiss: Any
try:
    faiss = importlib.import_module("faiss")
except ImportError:
    faiss = None

Array = NDArray[np.float32]

CASES = [  # name, queries Q, bank rows M, dimensions D
    ("ResNet-18, 224 px, 1 %", 784, 1638, 384),
    ("ResNet-18, 224 px, 10 %", 784, 16384, 384),
    ("WideResNet-50-2, 224 px, 1 %", 784, 1638, 1024),
]


def features(rng: np.random.Generator, rows: int, dim: int) -> Array:
    """Like those of a network: not negative, of few underlying directions, with noise."""
    directions = np.random.default_rng(7).standard_normal((32, dim))
    values = rng.standard_normal((rows, 32)) @ directions + rng.standard_normal((rows, dim))
    return np.maximum(values, 0).astype(np.float32)


def with_cdist(queries: torch.Tensor, bank: torch.Tensor) -> Array:
    with torch.inference_mode():
        distances: Array = torch.cdist(queries, bank).min(dim=1).values.square_().numpy()
    return distances[:, None]


def with_product(queries: torch.Tensor, bank: torch.Tensor, norms: torch.Tensor) -> Array:
    with torch.inference_mode():
        least = torch.addmm(norms, queries, bank.T, alpha=-2.0).min(dim=1).values
        distances: Array = (least + (queries * queries).sum(dim=1)).numpy()
    return distances[:, None]


def with_faiss(index: Any, queries: Array) -> Array:
    distances: Array = index.search(queries, 1)[0]
    return distances


def main() -> None:
    benchmark = Benchmark("nearest_neighbors: k = 1, exact")
    torch.set_num_threads(benchmark.options.threads)
    if faiss is not None:
        faiss.omp_set_num_threads(benchmark.options.threads)
    fastest = ops.cpu_level()
    levels = sorted(ops.available_cpu_levels(), key=lambda level: level != fastest)
    for name, Q, M, D in CASES:
        rng = np.random.default_rng(0)
        queries, bank = features(rng, Q, D), features(rng, M, D)
        expected, rows = reference(queries, bank)
        rounding = 1e-5 * float(expected.max() + (bank**2).sum(axis=1).max())
        contenders: list[tuple[str, Callable[[], Any], float]] = []
        for level in levels:
            ops.set_cpu_level(level)  # a bank stays with the level that it was made at
            prepared = ops.MemoryBank(bank)
            if not np.array_equal(prepared.search(queries)[1], rows):
                raise SystemExit(f"{name}: {level} finds other rows; a wrong kernel is not timed.")
            contenders.append((f"pyad_edge, {level}", partial(_distances, prepared, queries), 0.0))
        ops.set_cpu_level(fastest)
        if faiss is not None:
            index = faiss.IndexFlatL2(D)
            index.add(bank)
            contenders.append(("faiss IndexFlatL2", partial(with_faiss, index, queries), rounding))
        q, b = torch.from_numpy(queries), torch.from_numpy(bank)
        norms = (b * b).sum(dim=1)
        contenders += [
            ("torch cdist + min", partial(with_cdist, q, b), rounding),
            ("torch product + min", partial(with_product, q, b, norms), rounding),
        ]
        benchmark.case(name, expected, contenders)
    benchmark.finish()


def _distances(bank: ops.MemoryBank, queries: Array) -> Array:
    return bank.search(queries)[0]


if __name__ == "__main__":
    main()
