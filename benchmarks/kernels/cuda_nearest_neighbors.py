"""nearest_neighbors on a CUDA device beside torch, torch.compile, CuPy and faiss-gpu.

    python benchmarks/kernels/cuda_nearest_neighbors.py

Q = 784, M = 16,384, D = 1,024, everything on the device. Ours in the form that its table chooses,
and in every form. A peer's distances are rounded differently; ours must be those of the CPU form to
the last bit, rows too. A line of its own is the product of the same size in fp16: no search, but
what the tensor cores need at least for a plain one.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from compare import Benchmark, Contender
from nearest_neighbors import generated
from numpy.typing import NDArray
from on_device import current_stream, device_benchmark

from pyad_edge import ops
from pyad_edge.ops import cuda
from pyad_edge.ops.cuda.nearest_neighbors import FORMS

Array = NDArray[np.float32]
Pair = tuple[torch.Tensor, torch.Tensor]
Q, M, D = 784, 16384, 1024


def with_product(bank: torch.Tensor, norms: torch.Tensor, queries: torch.Tensor) -> torch.Tensor:
    least = torch.addmm(norms, queries, bank.T, alpha=-2.0).min(dim=1).values
    return (least + (queries * queries).sum(dim=1))[:, None]


def fp16_product(
    bank: torch.Tensor, queries: torch.Tensor, out: torch.Tensor, result: Array
) -> Array:
    torch.mm(queries, bank, out=out)
    return result


def with_pyad_edge(
    bank: cuda.MemoryBank, queries: torch.Tensor, out: Pair, workspace: Any, form: str | None
) -> torch.Tensor:
    bank.search(queries, form=form, out=out, workspace=workspace, stream=current_stream())
    return out[0]


def forms_of(
    rows: torch.Tensor, queries: torch.Tensor, expected: NDArray[np.int64]
) -> list[Contender]:
    """Ours, first as its table chooses, then in every form, all with the rows of the CPU form."""
    bank = cuda.MemoryBank(rows, int8=True, stream=current_stream())
    shape = (len(queries), 1)
    found: list[Contender] = []
    for form in (None, *FORMS):
        out = (
            torch.empty(shape, device="cuda"),
            torch.empty(shape, dtype=torch.int64, device="cuda"),
        )
        workspace = bank.workspace(len(queries), form=form)
        run = partial(with_pyad_edge, bank, queries, out, workspace, form)
        run()
        name = "pyad_edge" if form is None else f"pyad_edge, {form}"
        if not np.array_equal(out[1].cpu().numpy(), expected):
            raise SystemExit(f"{name} finds other rows; a wrong kernel is not timed.")
        found.append((name, run, 0.0))
    return found


def other_peers(benchmark: Benchmark, bank: torch.Tensor, queries: torch.Tensor) -> list[Any]:
    """faiss-gpu and CuPy, where they are installed: (name, function) pairs."""
    found: list[tuple[str, Callable[[], Any]]] = []
    try:
        faiss = importlib.import_module("faiss")
        importlib.import_module("faiss.contrib.torch_utils")  # torch tensors as arguments
        index = faiss.GpuIndexFlatL2(faiss.StandardGpuResources(), bank.shape[1])
        index.add(bank)
        found.append(("faiss GpuIndexFlatL2", lambda: index.search(queries, 1)[0]))
    except (ImportError, AttributeError, RuntimeError) as error:
        benchmark.skip("faiss-gpu", str(error).splitlines()[0])
    try:
        cupy = importlib.import_module("cupy")
        q, b = cupy.from_dlpack(queries), cupy.from_dlpack(bank)
        norms = (b * b).sum(axis=1)

        def with_cupy() -> Any:
            least = (norms - 2.0 * (q @ b.T)).min(axis=1) + (q * q).sum(axis=1)
            return least[:, None]

        with_cupy()
        found.append(("CuPy product + min", with_cupy))
    except Exception as error:
        benchmark.skip("CuPy", str(error).splitlines()[0])
    return found


def main() -> None:
    benchmark = device_benchmark("nearest_neighbors: k = 1, exact")
    real = benchmark.features()
    if real is None:
        rng = np.random.default_rng(0)
        kind, queries, bank = "generated", generated(rng, Q, D), generated(rng, M, D)
    else:
        kind, queries, bank = "real", real.queries[0], real.bank
    name = f"{kind}, {Q} x {M:,} x {D:,}"
    expected, rows = ops.MemoryBank(bank).search(queries)
    q, b = torch.from_numpy(queries).cuda(), torch.from_numpy(bank).cuda()
    norms = (b * b).sum(dim=1)
    rounding = 1e-4 * float(expected.max() + (bank**2).sum(axis=1).max())
    plain = partial(with_product, b, norms, q)
    ours = forms_of(b, q, rows)
    contenders = [*ours, ("torch product + min", plain, rounding)]
    try:
        compiled = torch.compile(with_product)
        compiled(b, norms, q)
        contenders.append(("torch.compile", partial(compiled, b, norms, q), rounding))
    except Exception as error:
        benchmark.skip("torch.compile", str(error).splitlines()[0])
    contenders += [(peer, run, rounding) for peer, run in other_peers(benchmark, b, q)]
    half = torch.empty(Q, M, dtype=torch.float16, device="cuda")
    gemm = partial(fp16_product, b.T.half().contiguous(), q.half(), half, expected)
    contenders.append(("fp16 product alone, no search", gemm, 0.0))
    times = benchmark.case(name, expected, contenders, flop=2.0 * Q * M * D)
    for peer, *_ in contenders[len(ours) :]:
        benchmark.compare(name, times, peer, contenders[0][0])
    benchmark.finish()


if __name__ == "__main__":
    main()
