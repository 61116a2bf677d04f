"""Runs that stand beside the scenarios: stages, backbone alone, what the first frames cost."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyad_edge.bench.statistics import Latency, median_interval, summarize
from pyad_edge.runtime import Runtime

__all__ = ["Backbone", "backbone_alone", "in_turn", "settled_early", "stage_times", "warm_up"]

Frame = NDArray[Any]

BLOCK, SETTLE = 10, 3  # calls in a row that are counted, and that are not before them


@dataclass(frozen=True)
class Backbone:
    """The whole of ``infer`` beside the network alone, timed in turn in one run.

    Attributes:
        infer, alone: both distributions.
        ratio, low, high: median of infer / alone pair by pair, with its 95 % bootstrap interval.
    """

    infer: Latency
    alone: Latency
    ratio: float
    low: float
    high: float


def warm_up(answer: Callable[[Sequence[int]], None], *, together: int, count: int) -> float:
    """Inspect frame 0 some times, alone and with others; median seconds of it alone."""
    seconds = []
    for _ in range(count):
        start = time.perf_counter()
        answer([0])
        seconds.append(time.perf_counter() - start)
    if together > 1:
        for _ in range(max(count // together, 2)):
            answer([0] * together)
    return float(np.median(seconds))


def stage_times(runtime: Runtime, frames: Sequence[Frame], *, rounds: int) -> dict[str, float]:
    """Median milliseconds of each stage of ``infer``, from a run of its own."""
    timings = [runtime.infer(frames[i % len(frames)]).timings for i in range(rounds)]
    stages = {stage: None for times in timings for stage in times}
    return {
        stage: float(np.median([times[stage] for times in timings if stage in times]))
        for stage in stages
    }


def in_turn(calls: Sequence[Callable[[int], None]], *, rounds: int) -> NDArray[np.float64]:
    """Time several calls in turn, block by block: what slows the machine meets all alike.

    In blocks, because the threads of whoever ran last go on spinning: one call of each in turn
    would charge that to the other.

    Args:
        calls: each is told how many of its calls were counted before.
        rounds: calls of each that are counted, at least.

    Returns:
        (calls, rounds) milliseconds; rounds are made up to whole blocks of ten.
    """
    times: list[list[float]] = [[] for _ in calls]
    while len(times[0]) < rounds:
        for found, call in zip(times, calls, strict=True):
            for i in range(-SETTLE, BLOCK):
                start = time.perf_counter()
                call(len(found))
                if i >= 0:
                    found.append((time.perf_counter() - start) * 1e3)
    return np.array(times)


def backbone_alone(runtime: Runtime, frames: Sequence[Frame], *, rounds: int) -> Backbone:
    """Time ``infer`` and the network alone in turn, on the runtime's own backend.

    The network runs on noise that lies in its input already: neither preprocessing nor copying
    counts for it. For a frame that is cut into tiles it runs as often as there are tiles.

    Args:
        runtime: its backend is used.
        frames: inspected in turn.
        rounds: calls of each that are counted, at least.
    """
    pipeline = runtime.pipeline
    session = pipeline.backend.session(1)
    shape = (1, 3, *pipeline.input_size)
    session.input[...] = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)

    def infer_next(n: int) -> None:
        runtime.infer(frames[n % len(frames)])

    runs = [pipeline.network_runs((frame.shape[0], frame.shape[1])) for frame in frames]

    def run_network(n: int) -> None:
        for _ in range(runs[n % len(runs)]):
            session.run()

    infer, alone = in_turn((infer_next, run_network), rounds=rounds)
    ratio, low, high = median_interval(infer / alone)
    return Backbone(summarize(infer), summarize(alone), ratio, low, high)


def settled_early(runtime: Runtime, frames: Sequence[Frame]) -> float:
    """Share of the frames whose decision needs no search."""
    return sum(runtime.decide(frame).settled == "early" for frame in frames) / len(frames)
