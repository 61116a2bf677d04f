"""MLPerf's scenarios by our own loop, and a camera that does not wait.

An answer takes the numbers of the frames that came together and returns when all have a verdict.
Names follow MLPerf Inference: SingleStream (one frame at a time), MultiStream (some at once, as
from several cameras; the query ends with its last frame), Offline (all frames are there). It counts
a frame that is seen again as new work, and so do we: nothing is kept from frame to frame.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pyad_edge.bench.clock import Clock, SystemClock

__all__ = ["Answer", "CameraRun", "Run", "Scenario", "camera", "run_scenario"]

Answer = Callable[[Sequence[int]], None]
Scenario = Literal["SingleStream", "MultiStream", "Offline"]


@dataclass(frozen=True, eq=False)
class Run:
    """What one scenario gave.

    Attributes:
        scenario: its name.
        clock: what measured it.
        latencies: ms of each query in turn, as this process saw them.
        frames: inspected in all.
        seconds: from the first frame to the last verdict.
        official: figures by LoadGen's own clock, in ms and frames per second; empty: our own loop.
        verdict: LoadGen's, of whether the run was long enough; None: our own loop.
    """

    scenario: Scenario
    clock: str
    latencies: NDArray[np.float64]
    frames: int
    seconds: float
    official: dict[str, float]
    verdict: str | None = None


@dataclass(frozen=True, eq=False)
class CameraRun:
    """An open loop at a fixed rate.

    Attributes:
        fps: rate of the trigger.
        deadline: ms after which a verdict is late.
        latencies: ms from each trigger to its verdict; waiting for frames before it counts.
        queueing: ms of these that the frame waited.
        longest_queue: frames that waited at once, at most.
    """

    fps: float
    deadline: float
    latencies: NDArray[np.float64]
    queueing: NDArray[np.float64]
    longest_queue: int

    @property
    def misses(self) -> int:
        """Frames whose verdict came after the deadline."""
        return int((self.latencies > self.deadline).sum())


def run_scenario(
    scenario: Scenario,
    answer: Answer,
    *,
    frames: int,
    together: int,
    queries: int,
    seconds: float,
    clock: Clock | None = None,
) -> Run:
    """Run a scenario until it has had ``queries`` queries and lasted ``seconds``.

    Args:
        scenario: see the module.
        answer: inspects the frames of these numbers.
        frames: different ones; their numbers come round and round.
        together: frames of one query of MultiStream, and of one turn of Offline.
        queries: at least so many; Offline has one, of ``queries`` times ``together`` frames.
        seconds: at least; Offline ends with its frames.
        clock: none: the system's.
    """
    clock = clock or SystemClock()
    size = 1 if scenario == "SingleStream" else together
    latencies: list[float] = []
    begin = end = clock.now()
    while len(latencies) < queries or (scenario != "Offline" and end - begin < seconds):
        first = len(latencies) * size
        start = clock.now()
        answer([(first + n) % frames for n in range(size)])
        end = clock.now()
        latencies.append((end - start) * 1e3)
    return Run(
        scenario, "own loop", np.array(latencies), len(latencies) * size, end - begin, official={}
    )


def camera(
    answer: Answer,
    *,
    fps: float,
    deadline: float,
    frames: int,
    triggers: int,
    clock: Clock | None = None,
) -> CameraRun:
    """Frames that come at a fixed rate, whether or not anybody is ready for them.

    Trigger k comes k / fps seconds after the first, fixed before the run. Frames are inspected one
    after another in their order; the latency runs from the trigger, so a frame pays for the slow
    ones before it. None is dropped.
    """
    clock = clock or SystemClock()
    begin = clock.now() + 1.0 / fps
    arrivals = begin + np.arange(triggers) / fps
    started, done = np.empty(triggers), np.empty(triggers)
    for k in range(triggers):
        clock.wait_until(float(arrivals[k]))
        started[k] = clock.now()
        answer([k % frames])
        done[k] = clock.now()
    # Before frame k starts, all that came until then and were not started wait (k among them
    # no longer does).
    waiting = np.searchsorted(arrivals, started, side="right") - np.arange(triggers) - 1
    return CameraRun(
        fps,
        deadline,
        (done - arrivals) * 1e3,
        np.maximum(started - arrivals, 0.0) * 1e3,
        int(max(waiting.max(), 0)),
    )
