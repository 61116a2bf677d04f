"""A simulated line of 100,000 triggers with 1 % of each fault, through a real engine.

    python benchmarks/stream_faults.py --frames 100000

Every trigger has to be answered exactly once, every injected fault reported under its name, memory
must not grow, and the last tenth must be as fast as the first. The engine is the built-in backbone
at 64 x 64 with a small bank, so that the stream itself is what is loaded.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from report import write_result

from pyad_edge import Runtime, ops, read_image
from pyad_edge.export.demo.part import write_dataset
from pyad_edge.export.methods.patchcore import make_settings
from pyad_edge.export.train import train_patchcore
from pyad_edge.streaming import StreamSettings, inspect_sources
from pyad_edge.streaming.simulate import Ledger, SimulatedLine

PICTURES = 64
WARM_UP = 0.1  # of all frames, before memory is looked at
SETTINGS = StreamSettings(
    read_timeout_s=0.1, stale_after_s=0.2, lost_after_s=0.3, backoff_first_s=0.01, backoff_max_s=0.1
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


def measure(
    runtime: Runtime, pictures: list[NDArray[np.uint8]], options: argparse.Namespace
) -> dict[str, Any]:
    """Run the line once."""
    line = SimulatedLine(
        pictures,
        triggers=options.frames,
        share=options.share,
        seed=options.seed,
        period_s=options.period_ms * 1e-3,
        window=8,
    )
    ledger = Ledger(line)
    latencies = np.zeros(options.frames, np.float32)  # 0: no verdict
    memory: list[float] = []
    step = max(1, options.frames // 50)
    start = time.monotonic()
    with inspect_sources(runtime, line.device, policy=options.policy, settings=SETTINGS) as stream:
        for n, inspection in enumerate(stream):
            ledger.add(inspection)
            line.answered(inspection)
            if inspection.fault is None:
                latencies[inspection.frame_id] = inspection.latency_ms
            if n % step == 0:
                memory.append(resident_megabytes())
                if sys.stderr.isatty() or n % (10 * step) == 0:
                    done = ledger.answers + ledger.dropped
                    print(f"{done:,} of {options.frames:,} triggers", file=sys.stderr)
            if ledger.answers + ledger.dropped >= options.frames:
                break
        status = stream.status()["camera"]
    line.close()
    tenths = [tenth[tenth > 0] for tenth in np.array_split(latencies, 10)]
    p99 = [float(np.percentile(tenth, 99)) for tenth in tenths]
    warm = memory[int(len(memory) * WARM_UP) :]
    return {
        "frames": options.frames,
        "share_of_each_fault": options.share,
        "policy": options.policy,
        "period_ms": options.period_ms,
        "seconds": round(time.monotonic() - start, 1),
        "answers": ledger.answers,
        "dropped": ledger.dropped,
        "triggers_equal_answers_and_drops": ledger.answers + ledger.dropped == options.frames,
        "answered_twice": ledger.twice,
        "confusion": {f"{a} -> {b}": count for (a, b), count in sorted(ledger.table.items())},
        "off_the_diagonal": {f"{a} -> {b}": c for (a, b), c in ledger.unnamed.items()},
        "reconnects": status.reconnects,
        "memory_mb_after_warm_up": warm[0],
        "memory_mb_at_end": warm[-1],
        "memory_growth_mb": round(warm[-1] - warm[0], 2),
        "latency_ms": {
            f"p{q:g}": float(np.percentile(latencies[latencies > 0], q)) for q in (50, 90, 99, 99.9)
        },
        "p99_ms_by_tenth": p99,
        "p99_last_over_first": p99[-1] / p99[0],
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--frames", type=int, default=100_000)
    parser.add_argument("--share", type=float, default=0.01, help="of each of the ten faults")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--period-ms", type=float, default=3.0, help="between triggers")
    parser.add_argument("--policy", choices=("inspect", "live"), default="inspect")
    parser.add_argument("--out", type=Path, help="JSON file instead of benchmarks/results")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        engine, pictures = make_engine(Path(name))
        content = measure(Runtime(engine), pictures, options)
    for key, value in content.items():
        print(f"{key}: {value}")
    write_result("stream_faults", content, threads=ops.num_threads(), out=options.out)


if __name__ == "__main__":
    main()
