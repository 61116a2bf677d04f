"""FOD end to end, its network alone, and its head against the literal form, in one interleaved run.

    python benchmarks/fod_latency.py

ResNet-18 at 256 px with the paper's transformers and random weights: 1024 and 256 patches, three
layers of eight heads. The literal forms make every (L, L) matrix: in torch as the public code does,
in NumPy as the kernel's reference does (float64). Memory is what the head needs beside its inputs,
counted by its scratch, against the matrices of one layer.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from report import write_result

from pyad_edge import Runtime, ops
from pyad_edge.export.papers.random_engines import fod_engine
from pyad_edge.ops.correlation_divergence import DivergencePlan
from pyad_edge.reference.correlation_divergence import correlation_divergence as plain

ROUNDS, LITERAL_ROUNDS = 25, 6
EPS = 1e-4
Array = NDArray[np.float32]


def literal(queries: torch.Tensor, keys: torch.Tensor, sigmas: torch.Tensor, w: int) -> Any:
    """Divergences by whole matrices, layer by layer of eight heads, float32."""
    L, d = queries.shape[-2:]
    place = torch.arange(L)
    x, y = place % w, place // w
    dx, dy = ((v[:, None] - v).square().float() for v in (x, y))
    total = 0
    for i in range(0, queries.shape[1], 8):
        s = torch.softmax(queries[0, i : i + 8] @ keys[i : i + 8].mT * d**-0.5, -1)
        sx, sy = (sigmas[0, axis, i : i + 8, :, None] for axis in (0, 1))
        t = torch.exp(-dx / (2 * sx**2) - dy / (2 * sy**2)) / (2 * torch.pi * sx * sy)
        t = t / t.sum(-1, keepdim=True)
        logs = torch.log(s + EPS), torch.log(t + EPS)
        one = (s * (logs[0] - logs[1])).sum(-1) + (t * (logs[1] - logs[0])).sum(-1)
        total = total + one.mean(0)
    return total / (queries.shape[1] // 8)


def timed(run: Callable[[], Any]) -> float:
    start = time.perf_counter()
    run()
    return (time.perf_counter() - start) * 1e3


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--out", type=Path, help="JSON file instead of benchmarks/results")
    options = parser.parse_args()
    threads = ops.num_threads()
    torch.set_num_threads(threads)
    with tempfile.TemporaryDirectory() as name:
        path, model = fod_engine(Path(name), network="resnet18")
        runtime = Runtime(path)
    frame = np.random.default_rng(1).integers(0, 256, (256, 256, 3), np.uint8)
    session = runtime.pipeline.backend.session(1)
    runtime.pipeline.write_input(frame, out=session.input)
    session.run()
    outputs = [output.copy() for output in session.outputs]
    head = runtime.pipeline.head
    maps, maxima, means = (np.empty(s, np.float32) for s in ((1, 256, 256), 1, 1))
    levels = [
        (outputs[level.queries or 0], model.keys[k], outputs[level.sigmas or 0], level.grid)
        for k, level in enumerate(model.head.levels)
    ]

    def kernel() -> list[Any]:
        return [
            ops.correlation_divergence(q, k, s[:, 0], s[:, 1], grid=grid)[0][0]
            for q, k, s, grid in levels
        ]

    tensors = [
        (torch.from_numpy(q), torch.from_numpy(k), torch.from_numpy(s), grid[1])
        for q, k, s, grid in levels
    ]

    def in_torch() -> list[Any]:
        with torch.no_grad():
            return [literal(*level).numpy() for level in tensors]

    def in_numpy() -> list[Any]:
        return [plain(q, k, s[:, 0], s[:, 1], grid=grid)[0][0] for q, k, s, grid in levels]

    expected = in_numpy()
    errors = {
        form.__name__: max(float(np.abs(a / b - 1).max()) for a, b in zip(form(), expected))  # noqa: B905
        for form in (kernel, in_torch)
    }
    if not errors["kernel"] < 1e-5:
        raise SystemExit(f"[fod_latency] the kernel is off by {errors['kernel']:.1e}")
    contenders: dict[str, tuple[int, Callable[[], Any]]] = {
        "end_to_end": (ROUNDS, lambda: runtime.infer(frame)),
        "network": (ROUNDS, session.run),
        "head": (
            ROUNDS,
            lambda: head.write(outputs, maps=maps, maxima=maxima, means=means),
        ),
        "divergences": (ROUNDS, kernel),
        "divergences, torch": (LITERAL_ROUNDS, in_torch),
        "divergences, NumPy": (LITERAL_ROUNDS // 2, in_numpy),
    }
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for i in range(ROUNDS):
        for name, (rounds, run) in contenders.items():
            if i < rounds:
                times[name].append(timed(run))
    medians = {name: float(np.median(found[1:])) for name, found in times.items()}
    scratch = 0
    for q, _, _, grid in levels:
        _, heads, L, d = q.shape
        scratch += 4 * (DivergencePlan(grid, heads=heads, d=d, shared=True).scratch + heads * L)
    matrices = 4 * 8 * max(q.shape[2] for q, *_ in levels) ** 2
    content = {
        "median_ms": medians,
        "end_to_end_over_network": medians["end_to_end"] / medians["network"],
        "torch_over_kernel": medians["divergences, torch"] / medians["divergences"],
        "numpy_over_kernel": medians["divergences, NumPy"] / medians["divergences"],
        "relative_errors": errors,
        "head_scratch_bytes": scratch,
        "one_matrix_of_one_layer_bytes": matrices,
    }
    for key, value in content.items():
        print(key, value, flush=True)
    write_result("fod_latency", content, threads=threads, out=options.out)


if __name__ == "__main__":
    main()
