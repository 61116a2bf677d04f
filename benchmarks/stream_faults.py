"""Simulated cameras with 100,000 triggers and 1 % of each fault, through a real engine.

    python benchmarks/stream_faults.py --frames 100000

Every trigger has to be answered exactly once, every injected fault reported under its name, memory
must not grow, and the last tenth must be as fast as the first. The engine is the built-in backbone
at 64 x 64 with a small bank, so that the stream itself is what is loaded. A tenth as many triggers
follow under the policy "live". Takes about seven minutes; ends with 1 where a target is missed.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from report import write_result

from pyad_edge import Runtime, ops, read_image
from pyad_edge.export.demo.part import write_dataset
from pyad_edge.export.methods.patchcore import make_settings
from pyad_edge.export.train import train_patchcore
from pyad_edge.streaming import Stream, StreamSettings, inspect_sources
from pyad_edge.streaming.simulate import EXPECTED, Ledger, SimulatedLine

PICTURES = 64
SAMPLES = 100  # of memory
SILENCE_S = 60.0  # without any answer: the stream is stuck
GROWTH_MB, SLOWER = 5.0, 0.05  # what is allowed
SETTINGS = StreamSettings(
    read_timeout_s=0.1,
    stale_after_s=0.15,
    lost_after_s=0.25,
    backoff_first_s=0.01,
    backoff_max_s=0.1,
)


def make_engine(folder: Path) -> tuple[Path, list[NDArray[np.uint8]]]:
    """An engine, and pictures for its line: good parts with the noise of a sensor."""
    data = write_dataset(folder / "data", seed=11, train=16, good=8, per_defect=1, size=96)
    engine = folder / "part.pyad"
    settings = make_settings(resize=(64, 64), coreset=0.1, seed=3, false_reject=0.2)
    train_patchcore(data, engine, settings=settings, backbone="edge18")
    rng = np.random.default_rng(0)
    parts = [read_image(path) for path in sorted((data / "test" / "good").iterdir())]
    noisy = (
        parts[n % len(parts)] + rng.normal(0, 3, parts[0].shape).round() for n in range(PICTURES)
    )
    return engine, [picture.clip(0, 255).astype(np.uint8) for picture in noisy]


def resident_megabytes() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


class Watchdog:
    """Closes a stream that says nothing any more, so that the numbers tell and nobody waits."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._last = time.monotonic()
        self._over = threading.Event()
        threading.Thread(target=self._run, daemon=True).start()

    def heard(self) -> None:
        self._last = time.monotonic()

    def stop(self) -> None:
        self._over.set()

    def _run(self) -> None:
        while not self._over.wait(1.0):
            if time.monotonic() - self._last > SILENCE_S:
                print(f"no answer for {SILENCE_S:g} s; given up", file=sys.stderr)
                self._stream.close()
                return


def measure(
    runtime: Runtime,
    pictures: list[NDArray[np.uint8]],
    options: argparse.Namespace,
    *,
    policy: Literal["inspect", "live"],
    frames: int,
) -> dict[str, Any]:
    """Run all cameras once."""
    each = frames // options.cameras
    frames = each * options.cameras
    lines = {
        f"camera {n}": SimulatedLine(
            pictures,
            triggers=each,
            share=options.share,
            seed=options.seed + n,
            period_s=options.period_ms * 1e-3,
            window=8,
        )
        for n in range(options.cameras)
    }
    ledgers = {name: Ledger(line) for name, line in lines.items()}
    latencies = {name: np.full(each, np.nan, np.float32) for name in lines}
    memory: list[float] = []
    start = time.monotonic()
    sources = {name: line.device for name, line in lines.items()}
    with inspect_sources(runtime, sources, policy=policy, settings=SETTINGS) as stream:
        watchdog = Watchdog(stream)
        for inspection in stream:
            watchdog.heard()
            name = inspection.camera
            ledgers[name].add(inspection)
            lines[name].answered(inspection)
            if inspection.fault is None:
                latencies[name][inspection.frame_id] = inspection.latency_ms
            done = sum(ledger.answers + ledger.dropped for ledger in ledgers.values())
            if done * SAMPLES >= len(memory) * frames:
                memory.append(resident_megabytes())
                if len(memory) % 10 == 1:
                    print(f"{policy}: {done:,} of {frames:,} triggers", file=sys.stderr)
            if all(ledger.answers + ledger.dropped >= each for ledger in ledgers.values()):
                break
        watchdog.stop()
        status = stream.status()
    for line in lines.values():
        line.close()
    tenth = max(1, len(memory) // 10)
    grown = float(np.median(memory[-tenth:]) - np.median(memory[tenth : 2 * tenth]))
    by_tenth = zip(*(np.array_split(found, 10) for found in latencies.values()), strict=True)
    parts = [np.concatenate(tenths) for tenths in by_tenth]
    p99 = [float(np.nanpercentile(part, 99)) for part in parts]
    table: Counter[tuple[str, str]] = Counter()
    injected: Counter[str] = Counter()
    for name, ledger in ledgers.items():
        table += ledger.table
        injected += Counter(lines[name].plan.values())
    every = np.concatenate(list(latencies.values()))
    exact = all(
        ledger.answers + ledger.dropped == each == status[name].triggers
        for name, ledger in ledgers.items()
    )
    wrong = {f"{a} -> {b}": c for one in ledgers.values() for (a, b), c in one.unnamed.items()}
    named = {kind: table[kind, code.value] for kind, code in EXPECTED.items()}
    twice = sum(ledger.twice for ledger in ledgers.values())
    return {
        "frames": frames,
        "seconds": round(time.monotonic() - start, 1),
        "answers": sum(ledger.answers for ledger in ledgers.values()),
        "dropped": sum(ledger.dropped for ledger in ledgers.values()),
        "injected": dict(sorted(injected.items())),
        "reported_under_its_name": named,
        "confusion": {f"{a} -> {b}": count for (a, b), count in sorted(table.items())},
        "off_the_diagonal": wrong,
        "answered_twice": twice,
        "reconnects": sum(one.reconnects for one in status.values()),
        "threads_left_behind": sum(one.abandoned for one in status.values()),
        "memory_growth_mb": round(grown, 2),
        "memory_mb": [round(value, 1) for value in memory[::10]],
        "latency_ms": {f"p{q:g}": float(np.nanpercentile(every, q)) for q in (50, 90, 99, 99.9)},
        "p99_ms_by_tenth": p99,
        "p99_last_over_first": p99[-1] / p99[0],
        "reached": {
            "triggers = verdicts + faults + counted drops": exact and not twice,
            # Under "live" a fault may be among the counted drops.
            "every fault under its name": not wrong
            and (policy == "live" or named == dict(injected)),
            "memory": grown < GROWTH_MB,
            "p99 of the last tenth": p99[-1] <= (1.0 + SLOWER) * p99[0],
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--frames", type=int, default=100_000, help="of all cameras together")
    parser.add_argument("--cameras", type=int, default=2)
    parser.add_argument("--share", type=float, default=0.01, help="of each of the ten faults")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--period-ms", type=float, default=4.0, help="of each camera")
    parser.add_argument("--out", type=Path, help="JSON file instead of benchmarks/results")
    options = parser.parse_args()
    content: dict[str, Any] = {
        "cameras": options.cameras,
        "share_of_each_fault": options.share,
        "period_ms": options.period_ms,
    }
    with tempfile.TemporaryDirectory() as name:
        engine, pictures = make_engine(Path(name))
        runtime = Runtime(engine)
        for n in range(300):  # clocks of the processor, caches, pools
            runtime.infer_batch([pictures[n % PICTURES]] * (1 + n % options.cameras))
        for policy, frames in (("inspect", options.frames), ("live", options.frames // 10)):
            content[policy] = measure(runtime, pictures, options, policy=policy, frames=frames)
            for key, value in content[policy].items():
                print(f"{policy}: {key}: {value}")
    write_result("stream_faults", content, threads=ops.num_threads(), out=options.out)
    # How fast the last tenth is under "live" says little: a tenth of it is a few seconds.
    missed = [
        f"{policy}: {target}"
        for policy in ("inspect", "live")
        for target, reached in content[policy]["reached"].items()
        if not reached and (policy == "inspect" or not target.startswith("p99"))
    ]
    if missed:
        sys.exit(f"missed: {'; '.join(missed)}")


if __name__ == "__main__":
    main()
