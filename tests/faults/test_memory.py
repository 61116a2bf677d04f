"""The n-th allocation fails, for every n: a clear exception, and right results ever after."""

from __future__ import annotations

from pathlib import Path

import pytest
from faults.shims import needs_shims, run_with
from tiny_engine import TinyEngine

# NumPy loses the exception of some failed allocations; Python then says so.
NUMPY = ("error return without exception set", "returned NULL without setting an exception")


@needs_shims
@pytest.mark.parametrize(
    ("case", "threads"), [("infer", 1), ("batch", 1), ("decide", 1), ("kernels", 1), ("kernels", 2)]
)
def test_the_nth_allocation_fails(
    case: str, threads: int, tiny: TinyEngine, tmp_path: Path
) -> None:
    picture = next(iter(tiny.scores))
    tries = run_with(
        "failing_memory", "memory_cases.py", case, tiny.path, picture, threads, folder=tmp_path
    )
    assert len(tries) == 2 * tries[0]["total"] >= 10
    for one in tries:
        assert one["again"], one
        if one["error"] is None:  # done without that memory
            assert one["right"], one
        else:
            lost = any(text in one["sentence"] for text in NUMPY)
            assert {"MemoryError", "ResourceError"} & set(one["error"]) or lost, one
    assert sum(one["error"] is not None for one in tries) > len(tries) / 2
