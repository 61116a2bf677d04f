"""What the benchmarks on a CUDA device (``cuda_<kernel>.py``) have in common. Needs torch."""

from __future__ import annotations

from functools import cache

import torch
from compare import Benchmark

BATCHES = (1, 32)


def device_benchmark(title: str) -> Benchmark:
    """A benchmark whose times end when the device has finished; float32 is float32 for all."""
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.set_grad_enabled(False)
    return Benchmark(f"{title}, on {torch.cuda.get_device_name()}", wait=torch.cuda.synchronize)


def note_rate(benchmark: Benchmark, case: str, moved: float) -> None:
    """Keep the rate at which our form moved the bytes that must be moved.

    Beside it stands the rate of a copy of the same size in the same run, read and written bytes
    counted. Small cases last as long as their launches, copies too.
    """
    rows = [r for r in benchmark.session.rows if r.case == case and r.kernel == benchmark.kernel]
    ours = moved / rows[0].ms / 1e6
    copied = _copy_rate(1 << (int(moved) - 1).bit_length())
    benchmark.note(
        case,
        gb_per_s=round(ours, 1),
        copy_gb_per_s=round(copied, 1),
        fraction_of_copy=round(ours / copied, 3),
    )


@cache
def _copy_rate(moved: int) -> float:
    """GB/s of device-to-device copies that read and write ``moved`` bytes together."""
    source = torch.empty(max(1, moved // 2), dtype=torch.uint8, device="cuda").zero_()
    target = torch.empty_like(source)
    best = float("inf")
    for _ in range(20):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        for _ in range(10):
            target.copy_(source)
        end.record()
        end.synchronize()
        best = min(best, start.elapsed_time(end) / 10)
    return 2 * len(source) / best / 1e6
