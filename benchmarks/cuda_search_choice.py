"""Measures the forms of the CUDA search on this device and writes them into its table.

    python benchmarks/cuda_search_choice.py           # prints the lines
    python benchmarks/cuda_search_choice.py --write   # puts them into csrc/cuda/search_choice.h

Each size is timed in every form, interleaved, medians; all forms first have to find what the exact
form finds. Lines of this compute capability are replaced, others stay. Build again afterwards.
"""

from __future__ import annotations

import argparse
import re
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyad_edge.ops import cuda
from pyad_edge.ops.cuda.device import require_device
from pyad_edge.ops.cuda.nearest_neighbors import FORMS

TABLE = Path(__file__).resolve().parents[1] / "csrc" / "cuda" / "search_choice.h"
SIZES = (  # Q, M, D, ascending in their product
    (64, 64, 128),
    (196, 1024, 128),
    (784, 2048, 384),
    (784, 16384, 1024),
    (784, 131072, 1024),
)
ROUNDS, CALLS = 9, 5


def features(n: int, D: int, seed: int) -> NDArray[np.float32]:
    """Rows near a subspace of 32 dimensions, as embeddings of patches are."""
    basis = np.random.default_rng(0).standard_normal((32, D), np.float32)
    rng = np.random.default_rng(seed)
    noise = 0.3 * rng.standard_normal((n, D), np.float32)
    return rng.standard_normal((n, 32), np.float32) @ basis + noise


def fastest(Q: int, M: int, D: int) -> tuple[str, dict[str, float]]:
    """The fastest form at a size, and the median milliseconds of all."""
    module = require_device()
    bank = cuda.MemoryBank(features(M, D, 1), int8=True)
    queries = cuda.DeviceArray.from_numpy(features(Q, D, 2))
    runs: dict[str, Callable[[], Any]] = {}
    expected = None
    for form in FORMS:
        out = (cuda.DeviceArray((Q, 1), np.float32), cuda.DeviceArray((Q, 1), np.int64))
        workspace = bank.workspace(Q, form=form)

        def run(form: str = form, out: Any = out, workspace: Any = workspace) -> None:
            bank.search(queries, form=form, out=out, workspace=workspace)

        run()
        found = tuple(array.numpy().tobytes() for array in out)
        expected = expected or found
        if found != expected:
            raise SystemExit(f"{form} differs from the exact form at {(Q, M, D)}: not timed.")
        runs[form] = run
    times: dict[str, list[float]] = {form: [] for form in FORMS}
    for _ in range(ROUNDS):
        for form, call in runs.items():
            module.synchronize(0)
            start = time.perf_counter()
            for _ in range(CALLS):
                call()
            module.synchronize(0)
            times[form].append((time.perf_counter() - start) / CALLS * 1e3)
    medians = {form: statistics.median(values) for form, values in times.items()}
    return min(medians, key=medians.__getitem__), medians


def with_lines(table: str, capability: int, lines: list[str]) -> str:
    """The table with the lines of a compute capability replaced, in ascending order."""
    head, body, tail = re.split(
        r"(?<=kSearchChoices\[\] = \{\n)(.*?)(?=^\};)", table, maxsplit=1, flags=re.S | re.M
    )
    blocks: list[tuple[int, str]] = []
    for line in body.splitlines(keepends=True):
        entry = re.match(r"\s*\{(\d+),", line)
        if entry is None or int(entry[1]) != capability:
            blocks.append((int(entry[1]) if entry else -1, line))
    before = [line for number, line in blocks if number < capability]
    after = [line for number, line in blocks if number > capability]
    return head + "".join([*before, *lines, *after]) + tail


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="change csrc/cuda/search_choice.h")
    parser.add_argument("--sizes", type=int, default=len(SIZES), help="the first so many sizes")
    arguments = parser.parse_args()
    capability, _ = require_device().device_traits()
    lines, last, least = [], None, 0
    for Q, M, D in SIZES[: arguments.sizes]:
        form, medians = fastest(Q, M, D)
        shown = ", ".join(f"{name} {value:.3f}" for name, value in medians.items())
        print(f"Q={Q} M={M} D={D}: {form} ({shown} ms)")
        if form != last:
            # Halfway, in the exponent, between this size and the one before it.
            start = 0 if last is None else int((least * (Q * M * D)) ** 0.5)
            lines.append(f"    {{{capability}, {start}, SearchForm::{form}}},\n")
        last, least = form, Q * M * D
    table = with_lines(TABLE.read_text(), capability, lines)
    print("".join(lines), end="")
    if arguments.write:
        TABLE.write_text(table)


if __name__ == "__main__":
    main()
