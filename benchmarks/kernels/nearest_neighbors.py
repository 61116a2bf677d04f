"""nearest_neighbors with every screen and level beside faiss's exact index and torch.

    python benchmarks/kernels/nearest_neighbors.py

The case to look at: 16,384 bank rows of 1,024 dims and the 784 patches of an unseen picture, real
features. Every call takes the next of twelve pictures, good and defective, in the same order for
every contender. The peers' distances are rounded differently; ours must be those of the reference
to the last bit, and so must the rows. faiss (IndexFlatL2) takes part where `faiss-cpu` is
installed, with the best of its settings: matrix products with blocks of several sizes, or a scan.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from ceilings import float_peak
from compare import Benchmark, Contender
from numpy.typing import NDArray
from screens import Prepared, prepared_banks

from pyad_edge.reference.nearest_neighbors import nearest_neighbors as reference

faiss: Any
try:
    faiss = importlib.import_module("faiss")
except ImportError:
    faiss = None

Array = NDArray[np.float32]

CASES = [  # name, queries Q, bank rows M, dimensions D
    ("generated, 784 x 1,638 x 384", 784, 1638, 384),
    ("generated, 784 x 16,384 x 384", 784, 16384, 384),
    ("generated, 784 x 1,638 x 1,024", 784, 1638, 1024),
]


def generated(rng: np.random.Generator, rows: int, dim: int) -> Array:
    """Like those of a network: not negative, of few underlying directions, with noise."""
    directions = np.random.default_rng(7).standard_normal((32, dim))
    values = rng.standard_normal((rows, 32)) @ directions + rng.standard_normal((rows, dim))
    return np.maximum(values, 0).astype(np.float32)


class Pictures:
    """The next picture's queries at every call, so that no contender sees one twice in a row."""

    def __init__(self, search: Callable[[Any], Array], blocks: list[Any]) -> None:
        self._search, self._blocks, self._next = search, blocks, 0

    def __call__(self) -> Array:
        block = self._blocks[self._next % len(self._blocks)]
        self._next += 1
        return self._search(block)


def with_cdist(bank: torch.Tensor, queries: torch.Tensor) -> Array:
    with torch.inference_mode():
        distances: Array = torch.cdist(queries, bank).min(dim=1).values.square_().numpy()
    return distances[:, None]


def with_product(bank: torch.Tensor, norms: torch.Tensor, queries: torch.Tensor) -> Array:
    with torch.inference_mode():
        least = torch.addmm(norms, queries, bank.T, alpha=-2.0).min(dim=1).values
        distances: Array = (least + (queries * queries).sum(dim=1)).numpy()
    return distances[:, None]


def with_faiss(index: Any, queries: Array) -> Array:
    distances: Array = index.search(queries, 1)[0]
    return distances


def case(benchmark: Benchmark, name: str, bank: Array, blocks: list[Array]) -> None:
    """One case: ``blocks`` are the queries (Q, D) of several pictures."""
    (M, D), Q = bank.shape, len(blocks[0])
    queries = np.concatenate(blocks)
    checked = queries if len(queries) <= Q else queries[:: len(blocks)]
    expected, rows = reference(checked, bank)
    largest = float(expected.max())
    rounding = 1e-5 * (largest + float((bank**2).sum(axis=1).max()))
    contenders: list[Contender] = []
    ceilings = {}
    truth: tuple[Array, NDArray[np.int64]] | None = None
    for prepared in prepared_banks(bank):
        found = prepared.search(checked)
        if not np.array_equal(found[0], expected) or not np.array_equal(found[1], rows):
            raise SystemExit(f"{name}: {prepared.name} is wrong; a wrong kernel is not timed.")
        everything = prepared.search(queries)
        if truth is None:
            truth = everything
        if not all(np.array_equal(a, b) for a, b in zip(everything, truth, strict=True)):
            raise SystemExit(f"{name}: {prepared.name} differs; a wrong kernel is not timed.")
        _note_candidates(benchmark, name, prepared, blocks)
        contenders.append(_over(partial(_distances, prepared), blocks, prepared.name, 0.0))
        ceilings[prepared.name] = prepared.ceiling
    assert truth is not None
    tensors = [torch.from_numpy(block) for block in blocks]
    b = torch.from_numpy(bank)
    norms = (b * b).sum(dim=1)
    if faiss is not None:
        peer = _best_faiss(benchmark, name, bank, blocks)
        contenders.append(("faiss IndexFlatL2", peer, rounding))
    contenders += [
        _over(partial(with_cdist, b), tensors, "torch cdist + min", rounding),
        _over(partial(with_product, b, norms), tensors, "torch product + min", rounding),
    ]
    for label, *_ in contenders:
        ceilings.setdefault(label, float_peak("avx512"))
    first = truth[0][:Q]
    benchmark.case(name, first, contenders, flop=2.0 * Q * M * D, ceiling=ceilings)


def _best_faiss(benchmark: Benchmark, name: str, bank: Array, blocks: list[Array]) -> Pictures:
    """IndexFlatL2 at the fastest of its settings, found by trying them; they are global."""
    index = faiss.IndexFlatL2(bank.shape[1])
    index.add(bank)
    scan, product = 1 << 30, 20  # from how many queries on a matrix product serves them
    settings = [(scan, 1024), *((product, rows) for rows in (1024, 4096, 16384))]
    best, least = settings[0], np.inf
    for setting in settings:
        _set_faiss(*setting)
        seconds = []
        for block in (blocks * 3)[:3]:
            start = time.perf_counter()
            index.search(block, 1)
            seconds.append(time.perf_counter() - start)
        if min(seconds) < least:
            best, least = setting, min(seconds)
    _set_faiss(*best)
    way = "scan" if best[0] == scan else f"products of {best[1]} rows"
    benchmark.note(name, faiss=f"{way}, {faiss.get_compile_options().strip()}")
    return Pictures(partial(with_faiss, index), blocks)


def _set_faiss(threshold: int, rows: int) -> None:
    faiss.cvar.distance_compute_blas_threshold = threshold
    faiss.cvar.distance_compute_blas_database_bs = rows


def _note_candidates(
    benchmark: Benchmark, name: str, prepared: Prepared, blocks: list[Array]
) -> None:
    """Rows that the screen left for the canonical distance: over all pictures."""
    if prepared.candidates is None:
        return
    counts = np.concatenate([prepared.candidates(block) for block in blocks])
    p99, most = (float(np.percentile(counts, q)) for q in (99, 100))
    figures = {"mean": round(float(counts.mean()), 2), "p99": p99, "most": most}
    benchmark.note(name, **{f"candidates per query, {prepared.name}": figures})


def _over(search: Callable[[Any], Array], blocks: list[Any], name: str, error: float) -> Contender:
    return name, Pictures(search, blocks), error


def _distances(prepared: Prepared, queries: Array) -> Array:
    return prepared.search(queries)[0]


def main() -> None:
    benchmark = Benchmark("nearest_neighbors: k = 1, exact")
    torch.set_num_threads(benchmark.options.threads)
    if faiss is not None:
        faiss.omp_set_num_threads(benchmark.options.threads)
    for name, Q, M, D in CASES:
        rng = np.random.default_rng(0)
        queries, bank = generated(rng, Q, D), generated(rng, M, D)
        case(benchmark, name, bank, [queries])
    real = benchmark.features()
    if real is not None:
        Q, (M, D) = real.queries.shape[1], real.bank.shape
        name = f"real, {Q} x {M:,} x {D:,}"
        case(benchmark, name, real.bank, list(real.queries))
    benchmark.finish()


if __name__ == "__main__":
    main()
