"""Times a kernel beside its peers: interleaved, after checking that all of them are right."""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pyad_edge import ops


@dataclass(frozen=True)
class Row:
    """One contender of one case.

    Attributes:
        ms: median over the rounds.
        p90: 90th percentile of the rounds, ms.
        ratio: median over the rounds of its time divided by ours in the same round.
        low, high: 95 % bootstrap interval of that ratio.
        error: largest absolute difference from the reference.
    """

    case: str
    name: str
    ms: float
    p90: float
    ratio: float
    low: float
    high: float
    error: float


class Benchmark:
    """Command line, machine line, table and JSON of one kernel's benchmark."""

    def __init__(self, title: str) -> None:
        parser = argparse.ArgumentParser(description=title)
        parser.add_argument("--threads", type=int, default=1, help="threads of every contender")
        parser.add_argument("--rounds", type=int, default=40)
        parser.add_argument("--json", type=Path, help="write the rows to this file")
        self.options = parser.parse_args()
        self.rows: list[Row] = []
        ops.set_num_threads(self.options.threads)
        self.machine = {
            "processor": _processor(),
            "level": ops.cpu_level(),
            "threads": self.options.threads,
            "rounds": self.options.rounds,
            "python": platform.python_version(),
            "numpy": np.__version__,
        }
        print(title)
        print(", ".join(f"{key} {value}" for key, value in self.machine.items()))
        print(f"{'case':<34}{'contender':<32}{'ms':>9}{'p90':>9}  ratio [95 %]{'':<14}error")

    def case(
        self,
        name: str,
        expected: np.ndarray,
        contenders: Sequence[tuple[str, Callable[[], Any], float]],
    ) -> None:
        """Check and time one case.

        Args:
            name: printed in the table.
            expected: the reference's result.
            contenders: (name, function, largest allowed error), ours first.
        """
        right: list[tuple[str, Callable[[], Any], float]] = []
        for contender, run, tolerance in contenders:
            error = float(np.abs(np.asarray(run(), np.float64) - expected).max())
            if error <= tolerance:
                right.append((contender, run, error))
                continue
            if run is contenders[0][1]:
                raise SystemExit(
                    f"{name}: error {error:.3g} of {contender} is above {tolerance:.3g}; a wrong "
                    "kernel is not timed."
                )
            print(f"{name:<34}{contender:<32}not timed: error {error:.3g} > {tolerance:.3g}")
        times = _interleaved([run for _, run, _ in right], self.options.rounds)
        ratios = times / times[:, :1]
        for index, (contender, _, error) in enumerate(right):
            low, high = _interval(ratios[:, index])
            row = Row(
                name,
                contender,
                float(np.median(times[:, index])),
                float(np.percentile(times[:, index], 90)),
                float(np.median(ratios[:, index])),
                low,
                high,
                error,
            )
            self.rows.append(row)
            interval = f"[{row.low:.2f}, {row.high:.2f}]"
            print(
                f"{name:<34}{contender:<32}{row.ms:>9.3f}{row.p90:>9.3f}  "
                f"{row.ratio:>6.2f} {interval:<18}{row.error:.1e}"
            )

    def finish(self) -> None:
        """Write the JSON file, if one was asked for."""
        if self.options.json is not None:
            content = {"machine": self.machine, "rows": [asdict(row) for row in self.rows]}
            self.options.json.write_text(json.dumps(content, indent=1) + "\n")


def _interleaved(runs: Sequence[Callable[[], Any]], rounds: int) -> np.ndarray:
    """(rounds, contenders) milliseconds per call, A B A B."""
    repeats = []
    for run in runs:  # warm up, and enough calls a round for the clock
        start = time.perf_counter()
        run()
        repeats.append(max(1, int(0.005 / (time.perf_counter() - start))))
    times = np.zeros((rounds, len(runs)))
    for i in range(rounds):
        for j, (run, count) in enumerate(zip(runs, repeats, strict=True)):
            start = time.perf_counter()
            for _ in range(count):
                run()
            times[i, j] = (time.perf_counter() - start) / count * 1e3
    return times


def _interval(ratios: np.ndarray) -> tuple[float, float]:
    draws = np.random.default_rng(0).choice(ratios, (2000, len(ratios)))
    low, high = np.percentile(np.median(draws, axis=1), (2.5, 97.5))
    return float(low), float(high)


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
