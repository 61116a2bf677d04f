"""What the benchmarks on a CUDA device (``cuda_<kernel>.py``) have in common. Needs torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
import torch
from compare import Benchmark, Contender

BATCHES = (1, 32)


def device_benchmark(title: str) -> Benchmark:
    """A benchmark whose times end when the device has finished; float32 is float32 for all."""
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.set_grad_enabled(False)
    return Benchmark(f"{title}, on {torch.cuda.get_device_name()}", wait=torch.cuda.synchronize)


def current_stream() -> int:
    """The stream of torch's own work, to be passed on."""
    return int(torch.cuda.current_stream().cuda_stream)


def device_case(
    benchmark: Benchmark,
    name: str,
    expected: np.ndarray,
    contenders: Sequence[Contender],
    *,
    moved: float,
) -> None:
    """Time every contender as a CUDA graph, which is the device's time, and as it is called.

    Args:
        benchmark: of the kernel.
        name: of the case.
        expected: the reference's result.
        contenders: ours first; each works on torch's current stream.
        moved: bytes that must be read and written at least.
    """
    both: list[Contender] = []
    for contender, run, tolerance in contenders:
        try:
            both.append((f"{contender}, graph", _captured(run), tolerance))
        except RuntimeError as error:
            why = str(error).splitlines()[0]
            benchmark.skip(f"{name}, {contender}, graph", f"it cannot be captured: {why}")
        both.append((contender, run, tolerance))
    benchmark.case(name, expected, both)
    note_rate(benchmark, name, moved)


def _captured(run: Callable[[], torch.Tensor]) -> Callable[[], torch.Tensor]:
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        run()  # what is made once is made here
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
        result = run()
    result.fill_(float("nan"))  # what the warm-up left there must not pass for the graph's work

    def replay() -> torch.Tensor:
        graph.replay()
        return result

    return replay


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
