"""Hours of a stream with all simulated faults: does anything grow, get lost, or get slower?

    python benchmarks/soak.py --minutes 60
    python benchmarks/soak.py --frames 1000000

The line, its faults and the account of every trigger are those of stream_faults.py. Beside them
memory, open handles and threads are read all along. Writes soak.json and soak.png into --out; ends
with 1 where a target is missed. The ratio of the last tenth's p99 to the first's is a target on a
quiet machine only: --quiet.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from report import write_result
from soak_plot import draw_soak
from stream_faults import PICTURES, SETTINGS, Watchdog, make_engine, resident_megabytes

from pyad_edge import Runtime, ops
from pyad_edge.streaming import inspect_sources
from pyad_edge.streaming.simulate import Ledger, SimulatedLine

SAMPLES = 1200  # of memory, handles and threads in a whole run
WARM_UP = 0.2  # of the run: caches, pools and the allocator's arenas fill
TENTHS = 10
SLOPE_MB_H, SLOWER = 1.0, 1.05  # what is allowed
CHUNK = 50_000  # triggers of a camera in one line, so that a run of any length needs no more memory


class Gauges:
    """Readings of this process, as many in each part of the run, in an array that does not grow.

    As many, because a reading takes time: were there more at the begin than at the end, the first
    tenth would look slower than it is.
    """

    COLUMNS = ("seconds", "frames", "memory_mb", "allocated_mb", "handles", "threads")

    def __init__(self) -> None:
        self._table = np.full((SAMPLES + 1, len(self.COLUMNS)), 0.0)
        self._used = 0
        self._allocated = allocated_megabytes()

    def look(self, seconds: float, frames: int, *, progress: float) -> None:
        """Read, if it is time to.

        Args:
            seconds, frames: so far.
            progress: part of the run that is done.
        """
        if progress * SAMPLES < self._used or self._used == len(self._table):
            return
        handles = sum(1 for _ in Path("/proc/self/fd").iterdir())
        threads = threading.active_count()
        row = (seconds, frames, resident_megabytes(), self._allocated(), handles, threads)
        self._table[self._used] = row
        self._used += 1

    def table(self) -> dict[str, NDArray[np.float64]]:
        """Columns by name."""
        used = self._table[: self._used]
        return {name: used[:, i].copy() for i, name in enumerate(self.COLUMNS)}


class _Mallinfo(ctypes.Structure):
    """mallinfo2(3): ``hblkhd`` bytes in mapped blocks, ``uordblks`` in use in the arenas."""

    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
            *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
        )
    )


def allocated_megabytes() -> Callable[[], float]:
    """Reads what malloc has handed out, in all arenas; 0 where it does not say.

    Beside the resident memory it tells a leak from free memory that is kept in pieces.
    """
    try:
        read = ctypes.CDLL(None).mallinfo2  # glibc 2.33
    except AttributeError:
        return lambda: 0.0
    read.restype = _Mallinfo
    return lambda: float((found := read()).hblkhd + found.uordblks) / 1e6


class Latencies:
    """Milliseconds in slices of the run: a histogram for each, on a scale of 0.5 % steps."""

    def __init__(self) -> None:
        self._edges = 1e-3 * 1.005 ** np.arange(4000)  # 1 us to 460,000 s
        # Written now: pages that zeros() would map one by one look like a leak of what is watched.
        self._counts = np.full((64 * TENTHS, len(self._edges) + 1), 0, np.int64)
        self._slice_s = 1.0

    def add(self, seconds: float, milliseconds: float) -> None:
        while (place := int(seconds / self._slice_s)) >= len(self._counts):
            half = len(self._counts) // 2
            for n in range(half):  # in place: 10 MB for a moment would stay with the allocator
                self._counts[n] = self._counts[2 * n]
                self._counts[n] += self._counts[2 * n + 1]
            self._counts[half:] = 0
            self._slice_s *= 2
        self._counts[place, np.searchsorted(self._edges, milliseconds)] += 1

    def p99_by_tenth(self) -> list[float]:
        """Of ten parts of the run with about as many frames each."""
        counts = self._counts[self._counts.any(axis=1)]
        tenth = np.minimum(np.cumsum(counts.sum(axis=1)) * TENTHS // (counts.sum() + 1), TENTHS - 1)
        found = []
        for n in range(TENTHS):
            part = counts[tenth == n].sum(axis=0)
            if part.any():
                place = int(np.searchsorted(np.cumsum(part), 0.99 * part.sum()))
                found.append(float(self._edges[min(place, len(self._edges) - 1)]))
        return found


def theil_sen(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Median slope of all pairs of points, Sen (1968): a few outliers do not turn it."""
    i, j = np.triu_indices(len(x), 1)
    apart = x[j] > x[i]
    return float(np.median((y[j] - y[i])[apart] / (x[j] - x[i])[apart])) if apart.any() else 0.0


def summary(
    table: Mapping[str, NDArray[np.float64]], latencies: Latencies, account: Mapping[str, Any]
) -> dict[str, Any]:
    """Figures and targets of a run."""
    settled = table["seconds"] >= WARM_UP * table["seconds"][-1]
    # Medians of up to 300 parts: thinner readings, the same slope.
    parts = [
        part
        for part in np.array_split(np.flatnonzero(settled), min(300, int(settled.sum())))
        if len(part)
    ]
    middle = {name: np.array([np.median(v[p]) for p in parts]) for name, v in table.items()}
    slope = theil_sen(middle["seconds"], middle["memory_mb"]) * 3600
    allocated = theil_sen(middle["seconds"], middle["allocated_mb"]) * 3600
    p99 = latencies.p99_by_tenth()
    growth = {}
    for name in ("handles", "threads"):
        third = max(1, len(parts) // 3)
        growth[name] = float(np.median(middle[name][-third:]) - np.median(middle[name][:third]))
    targets = {
        "triggers = verdicts + faults + counted drops": account["exact"],
        "memory slope": slope < SLOPE_MB_H,
        "handles": growth["handles"] <= 0,
        "threads": growth["threads"] <= 0,
        "p99 of the last tenth": p99[-1] <= SLOWER * p99[0],
    }
    return {
        **account,
        "memory_slope_mb_per_h": round(slope, 3),
        "allocated_slope_mb_per_h": round(allocated, 3),
        "memory_mb": [round(float(middle["memory_mb"][n]), 1) for n in (0, -1)],
        "growth": growth,
        "p99_ms_by_tenth": [round(value, 3) for value in p99],
        "p99_last_over_first": round(p99[-1] / p99[0], 4),
        "reached": targets,
    }


class Soak:
    """A run of any length, in chunks of triggers on one runtime.

    Args:
        runtime: an open engine.
        pictures: shown by the line.
        options: of the command.
    """

    def __init__(self, runtime: Runtime, pictures: list[Any], options: argparse.Namespace) -> None:
        self._runtime, self._pictures, self._options = runtime, pictures, options
        self.gauges, self.latencies = Gauges(), Latencies()
        self._start, self._busy = time.monotonic(), sum(os.times()[:2])
        self._counts: Counter[str] = Counter()
        self._injected: Counter[str] = Counter()
        self._verdicts: Counter[str] = Counter()
        self._wrong: Counter[str] = Counter()

    def run(self) -> None:
        """Until the frames or minutes are spent."""
        chunk = 0
        while (each := self._next_chunk()) > 0:
            self._chunk(each, seed=self._options.seed + 1000 * chunk)
            chunk += 1

    def account(self) -> dict[str, Any]:
        """Every trigger: what became of it."""
        counts = self._counts
        answered = sum(self._verdicts.values())
        return {
            "seconds": round(seconds := time.monotonic() - self._start, 1),
            "triggers_per_s": round(counts["triggers"] / seconds, 1),
            "processor_s_per_1000_triggers": round(
                1000 * (sum(os.times()[:2]) - self._busy) / max(1, counts["triggers"]), 3
            ),
            "triggers": counts["triggers"],
            "verdicts": dict(sorted(self._verdicts.items())),
            "faults": counts["faults"],
            "dropped": counts["dropped"],
            "answered_twice": counts["twice"],
            "injected": dict(sorted(self._injected.items())),
            "off_the_diagonal": dict(self._wrong),
            "exact": counts["triggers"] == answered + counts["faults"] + counts["dropped"]
            and not counts["twice"],
        }

    def _progress(self, seconds: float, done: int) -> float:
        options = self._options
        if options.frames is not None:
            return float(done / options.frames)
        return float(seconds / (60 * options.minutes))

    def _next_chunk(self) -> int:
        options, done = self._options, self._counts["triggers"]
        if options.frames is not None:
            return int(min(CHUNK, (options.frames - done) // options.cameras))
        left = 60 * options.minutes - (time.monotonic() - self._start)
        if left <= 0:
            return 0
        spent = time.monotonic() - self._start
        rate = done / spent if done else 5.0  # the first chunk tells how fast this machine is
        return int(min(CHUNK, max(100, rate * min(left, 60) / options.cameras)))

    def _chunk(self, each: int, *, seed: int) -> None:
        options = self._options
        lines = {
            f"camera {n}": SimulatedLine(
                self._pictures,
                triggers=each,
                share=options.share,
                seed=seed + n,
                period_s=options.period_ms * 1e-3,
                window=8,
            )
            for n in range(options.cameras)
        }
        ledgers = {name: Ledger(line) for name, line in lines.items()}
        before = self._counts["triggers"]
        sources = {name: line.device for name, line in lines.items()}
        with inspect_sources(
            self._runtime, sources, policy=options.policy, settings=SETTINGS
        ) as stream:
            watchdog = Watchdog(stream)
            for inspection in stream:
                watchdog.heard()
                name = inspection.camera
                ledgers[name].add(inspection)
                lines[name].answered(inspection)
                seconds = time.monotonic() - self._start
                if inspection.fault is None:
                    self._verdicts[inspection.verdict.value] += 1
                    self.latencies.add(seconds, inspection.latency_ms)
                else:
                    self._counts["faults"] += inspection.triggers
                done = sum(one.answers + one.dropped for one in ledgers.values())
                self.gauges.look(
                    seconds, before + done, progress=self._progress(seconds, before + done)
                )
                if all(one.answers + one.dropped >= each for one in ledgers.values()):
                    break
            watchdog.stop()
            self._counts["triggers"] += sum(one.triggers for one in stream.status().values())
        for name, line in lines.items():
            line.close()
            self._counts["dropped"] += ledgers[name].dropped
            self._counts["twice"] += ledgers[name].twice
            self._injected += Counter(line.plan.values())
            for (was, said), count in ledgers[name].unnamed.items():
                self._wrong[f"{was} -> {said}"] += count


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--frames", type=int, help="instead: triggers of all cameras together")
    parser.add_argument("--cameras", type=int, default=2)
    parser.add_argument("--policy", choices=("inspect", "live"), default="inspect")
    parser.add_argument("--share", type=float, default=0.01, help="of each of the ten faults")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--period-ms", type=float, default=1.0, help="of each camera")
    parser.add_argument("--out", type=Path, default=Path("soak-out"), help="folder")
    parser.add_argument("--quiet", action="store_true", help="p99 is a target too")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        engine, pictures = make_engine(Path(name))
        runtime = Runtime(engine)
        for n in range(300):
            runtime.infer_batch([pictures[n % PICTURES]] * (1 + n % options.cameras))
        soak = Soak(runtime, pictures, options)
        soak.run()
    table = soak.gauges.table()
    found = summary(table, soak.latencies, soak.account())
    content = {
        "soak": {key: value for key, value in vars(options).items() if key != "out"},
        **found,
        "gauges": {name: v[:: max(1, len(v) // SAMPLES)].tolist() for name, v in table.items()},
    }
    write_result("soak", content, threads=ops.num_threads(), out=options.out / "soak.json")
    draw_soak(options.out / "soak.png", table, found, warm_up=WARM_UP)
    for key, value in found.items():
        print(f"{key}: {value}")
    missed = [
        target
        for target, reached in found["reached"].items()
        if not reached and (options.quiet or not target.startswith("p99"))
    ]
    if missed:
        print(f"missed: {'; '.join(missed)}", file=sys.stderr)
    return bool(missed)


if __name__ == "__main__":
    sys.exit(main())
