"""One process of a cell: choose everybody's fastest form, or time the chosen ones in turn."""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch
from contenders import CELLS, TOLERANCE, Contenders, Timed, largest_difference
from report import load

from pyad_edge import ops

TRIAL, TRIAL_WARM = 12, 4
BLOCK = 8  # runs of one contender in a row
# Not counted at the start of each block: the threads of whoever ran before go on spinning for some
# milliseconds, OpenMP's for some tens.
SETTLE = 3


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("task", choices=["choose", "time"])
    parser.add_argument("--cell", required=True)
    parser.add_argument("--engine", type=Path, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--rounds", type=int, required=True)
    parser.add_argument("--forms", type=json.loads, default={})
    parser.add_argument("--json", type=Path, required=True)
    options = parser.parse_args()
    warnings.filterwarnings("ignore")  # of tracers and compilers
    torch.set_num_threads(options.threads)
    ops.set_num_threads(options.threads)
    cell = next(cell for cell in CELLS if cell.name == options.cell)
    contenders = Contenders(cell, options.engine, threads=options.threads)
    found = (
        choose(contenders)
        if options.task == "choose"
        else time_chosen(contenders, options.forms, options.rounds)
    )
    options.json.write_text(json.dumps(found))


def choose(contenders: Contenders) -> dict[str, Any]:
    """The fastest form of each group among those whose scores are right; all that was tried."""
    expected = contenders.expected()
    tolerance = TOLERANCE[contenders.cell.precision]
    tried: dict[str, dict[str, Any]] = {}
    for group, forms in contenders.groups().items():
        tried[group] = {}
        for name, make in forms.items():
            try:
                run = make()
                error = largest_difference(run, expected)
            except Exception as reason:  # a form that this machine or version does not take
                tried[group][name] = {"failed": f"{type(reason).__name__}: {reason}"[:300]}
                continue
            entry: dict[str, Any] = {"error": error}
            if error <= tolerance:
                entry["ms"] = _trial(run, contenders.turns)
            tried[group][name] = entry
            print(f"  {group}, {name}: {entry}", flush=True)
    chosen = {
        group: min(right, key=lambda name: right[name]["ms"])
        for group, forms in tried.items()
        if (right := {name: entry for name, entry in forms.items() if "ms" in entry})
    }
    return {"tried": tried, "chosen": chosen, "distances": contenders.distances()}


def time_chosen(contenders: Contenders, forms: dict[str, str], rounds: int) -> dict[str, Any]:
    """Milliseconds per picture of each block, and the largest score error, by group."""
    expected = contenders.expected()
    makers = contenders.groups()
    runs: dict[str, Timed] = {group: makers[group][form]() for group, form in forms.items()}
    errors = {group: largest_difference(run, expected) for group, run in runs.items()}
    tolerance = TOLERANCE[contenders.cell.precision]
    wrong = {group: error for group, error in errors.items() if not error <= tolerance}
    if wrong:
        raise SystemExit(f"scores differ by more than {tolerance}: {wrong}; not timed.")
    busy = load()
    blocks: dict[str, list[float]] = {group: [] for group in runs}
    single: dict[str, list[float]] = {group: [] for group in runs}
    for number in range(rounds + 1):  # the first round is not counted
        for group, run in runs.items():
            times = []
            for i in range(SETTLE + BLOCK):
                turn = (number * BLOCK + i) % contenders.turns
                start = time.perf_counter()
                run(turn)
                times.append((time.perf_counter() - start) * 1e3 / contenders.cell.together)
            if number:
                blocks[group].append(float(np.median(times[SETTLE:])))
                single[group] += times[SETTLE:]
    return {"blocks": blocks, "single": single, "errors": errors, "load": busy}


def _trial(run: Timed, turns: int) -> float:
    for i in range(TRIAL_WARM):
        run(i % turns)
    times = []
    for i in range(TRIAL):
        start = time.perf_counter()
        run(i % turns)
        times.append(time.perf_counter() - start)
    return float(np.median(times)) * 1e3


if __name__ == "__main__":
    main()
