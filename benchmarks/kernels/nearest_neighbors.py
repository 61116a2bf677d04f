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
from compare import Benchmark, Contender
from numpy.typing import NDArray
from screens import Form, forms_of

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
    """All pictures' queries at every call: some are harder than others. Returns the first's."""

    def __init__(self, search: Callable[[Any], Array], blocks: list[Any]) -> None:
        self._search, self._blocks = search, blocks

    def __call__(self) -> Array:
        found = [self._search(block) for block in self._blocks]
        return found[0]


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
    checked = queries[:: len(blocks)]  # as many as one block; the reference takes its time
    expected, rows = reference(checked, bank)
    rounding = 1e-5 * float(expected.max() + (bank**2).sum(axis=1).max())
    forms = forms_of(bank)
    truth = forms[0].bank.search(queries)
    contenders: list[Contender] = []
    ceilings, flop = {}, {}
    for form in forms:
        distances, indices, evaluated = form.bank.search_counted(queries)
        right = np.array_equal(distances[:: len(blocks)], expected)
        right &= np.array_equal(indices[:: len(blocks)], rows)
        right &= np.array_equal(distances, truth[0]) and np.array_equal(indices, truth[1])
        if not right:
            raise SystemExit(f"{name}: {form.name} is wrong; a wrong kernel is not timed.")
        _note_evaluated(benchmark, name, form, evaluated)
        contenders.append((form.name, Pictures(form.distances, blocks), 0.0))
        ceilings[form.name] = form.ceiling
        flop[form.name] = 2.0 * Q * M * form.bank.screened_dim
    if faiss is not None:
        peer = _best_faiss(benchmark, name, bank, blocks)
        contenders.append(("faiss IndexFlatL2", peer, rounding))
    tensors = [torch.from_numpy(block) for block in blocks]
    b = torch.from_numpy(bank)
    norms = (b * b).sum(dim=1)
    contenders += [
        ("torch cdist + min", Pictures(partial(with_cdist, b), tensors), rounding),
        ("torch product + min", Pictures(partial(with_product, b, norms), tensors), rounding),
    ]
    for label, *_ in contenders[len(forms) :]:
        ceilings[label], flop[label] = "fma", 2.0 * Q * M * D
    each = {contender: 1.0 / len(blocks) for contender, *_ in contenders}  # ms per picture
    times = benchmark.case(name, truth[0][:Q], contenders, flop=flop, ceiling=ceilings, scale=each)
    if faiss is not None:
        for form in forms:
            benchmark.compare(name, times, "faiss IndexFlatL2", form.name)


def _note_evaluated(
    benchmark: Benchmark, name: str, form: Form, evaluated: NDArray[np.int64]
) -> None:
    """Rows that the screen left for the canonical distance, over all pictures' queries."""
    mean, p99, most = evaluated.mean(), np.percentile(evaluated, 99), evaluated.max()
    benchmark.note(
        name,
        form=form.name,
        dims_screened=form.bank.screened_dim,
        candidates_per_query=round(float(mean), 2),
        candidates_p99=round(float(p99)),
        candidates_most=int(most),
    )


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
    benchmark.note(name, faiss=f"{way}; {faiss.get_compile_options().strip()}")
    return Pictures(partial(with_faiss, index), blocks)


def _set_faiss(threshold: int, rows: int) -> None:
    faiss.cvar.distance_compute_blas_threshold = threshold
    faiss.cvar.distance_compute_blas_database_bs = rows


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
        case(benchmark, name, real.bank, list(real.queries[::3]))
    benchmark.finish()


if __name__ == "__main__":
    main()
