"""One run of one or all benchmarks of kernels: its command line, its machine and what it found."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parents[1]))

from ceilings import Ceilings
from features import Features, features
from report import commit, load, machine

from pyad_edge import ops


@dataclass(frozen=True)
class Row:
    """One contender of one case.

    Attributes:
        kernel: whose benchmark this is.
        ms: median over the rounds.
        p90: 90th percentile of the rounds, ms.
        ratio: median over the rounds of its time divided by ours in the same round.
        low, high: 95 % bootstrap interval of that ratio.
        error: largest absolute difference from the reference.
        rounds: how many were timed.
        giga: 10^9 operations or bytes a second, of the work that the case states; none: not stated.
        unit: ``GFLOP/s``, ``GOP/s`` (integers) or ``GB/s``.
        ceiling: the bound that limits it most, measured in the same run; see ceilings.py.
        fraction: of that ceiling.
    """

    kernel: str
    case: str
    name: str
    ms: float
    p90: float
    ratio: float
    low: float
    high: float
    error: float
    rounds: int
    giga: float | None = None
    unit: str | None = None
    ceiling: str | None = None
    fraction: float | None = None


class Session:
    """Options, machine and results of one run, of one kernel's file or of all.

    Attributes:
        options: the command line.
        rows: one per contender and case.
        notes: figures that are no times, each with its kernel and case.
        skipped: case or peer: why it took no part.
        failed: kernel: why its benchmark ended early.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.rows: list[Row] = []
        self.notes: list[dict[str, Any]] = []
        self.skipped: dict[str, str] = {}
        self.failed: dict[str, str] = {}
        ops.set_num_threads(options.threads)
        self.machine = {**machine(options.threads), "rounds": options.rounds}
        self.ceilings = Ceilings()
        versions = self.machine.pop("versions")
        print(", ".join(f"{key} {value}" for key, value in self.machine.items()))
        print(", ".join(f"{key} {value}" for key, value in versions.items()), flush=True)
        self.machine["versions"] = versions
        self._features: Features | None = None

    def skip(self, what: str, why: str) -> None:
        """Say that something took no part."""
        self.skipped[what] = why
        print(f"{what}: skipped, {why}", flush=True)

    def features(self) -> Features:
        """Real features, loaded once.

        Raises:
            NoFeatures: where there are none here.
        """
        if self._features is None:
            self._features = features(self.options.features)
        return self._features

    def write(self, path: Path) -> None:
        """Write everything as JSON, fractions of the best ceilings that the run saw.

        Whoever ends the process meanwhile finds the file as it was before.
        """
        best = self.ceilings.found
        self.rows = [
            row if row.ceiling is None else replace(row, fraction=row.giga / best[row.ceiling])
            for row in self.rows
        ]
        folder = Path(__file__).resolve().parents[2]
        script = os.path.relpath(sys.argv[0], folder)
        content = {
            "benchmark": "kernels",
            "command": " ".join(["python", script, *sys.argv[1:]]),
            "commit": commit(),
            "machine": self.machine,
            "load": load(),
            "ceilings": self.ceilings.found,
            "skipped": self.skipped,
            "failed": self.failed,
            "notes": self.notes,
            "rows": [asdict(row) for row in self.rows],
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(f"{path.name}.part")
        unfinished.write_text(json.dumps(content, indent=1) + "\n")
        unfinished.replace(path)
        print(f"wrote {path.name}")


_shared: Session | None = None


@contextmanager
def shared_session(session: Session) -> Iterator[Session]:
    """Within this block, every Benchmark belongs to ``session``."""
    global _shared
    _shared = session
    try:
        yield session
    finally:
        _shared = None


def parser(title: str) -> argparse.ArgumentParser:
    """The options that all benchmarks of kernels have."""
    made = argparse.ArgumentParser(
        description=title, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument(
        "--threads", type=int, default=ops.num_threads(), help="of every contender (usable cores)"
    )
    made.add_argument("--rounds", type=int, default=40, help="turns of each contender, at most")
    made.add_argument("--seconds", type=float, default=20, help="of a case; 3 rounds at least")
    made.add_argument("--json", type=Path, help="write the results to this file")
    made.add_argument("--features", type=Path, help="real features, made by features.py --out")
    made.add_argument("--full", action="store_true", help="slow peers run to the end")
    return made


def open_session(title: str) -> tuple[Session, bool]:
    """The shared session, or one of this file's own command line; and whether it is shared."""
    if _shared is not None:
        return _shared, True
    return Session(parser(title).parse_args()), False
