"""Adds finished runs of ``make fuzz`` to ``benchmarks/results/fuzz.json``, from what they printed.

make fuzz target=onnx runs=500000 > onnx.log 2>&1; python tests/fuzz/record.py onnx.log
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parents[2] / "benchmarks" / "results" / "fuzz.json"
AIM = 10_000_000

_CALL = r"tests/fuzz/run\.py (\w+) -runs=(\d+)"
_SEED = r"^INFO: Seed: (\d+)"
_STATE = r"^#(\d+)\s+{}\s+cov: (\d+) ft: (\d+) corp: (\d+)/.* rss: (\d+)Mb"
_DONE = r"^Done \d+ runs in (\d+) second"
_STATISTIC = r"^stat::{}:\s+(\d+)"


def run_of(log: str) -> dict[str, Any]:
    """What one log tells of one run.

    Raises:
        ValueError: if the run did not end by itself: then the log is one to read, not to count.
    """

    def find(pattern: str) -> re.Match[str]:
        found = re.search(pattern, log, re.MULTILINE)
        if found is None:
            raise ValueError(f"no whole run, nothing in it is like {pattern!r}: read it yourself")
        return found

    target, runs = find(_CALL).groups()
    done = find(_DONE)
    begin, end = (
        [int(number) for number in find(_STATE.format(state)).groups()]
        for state in ("INITED", "DONE")
    )
    executed, slowest, peak = (
        int(find(_STATISTIC.format(name))[1])
        for name in ("number_of_executed_units", "slowest_unit_time_sec", "peak_rss_mb")
    )
    return {
        "target": target,
        "command": f"make fuzz target={target} runs={runs}",
        "executions": executed - begin[0],  # without the inputs that are only read in again
        "seconds": int(done[1]),
        "rss_mb_start": begin[4],
        "rss_mb_peak": peak,
        "coverage_start": begin[1],
        "coverage_end": end[1],
        "features_end": end[2],
        "corpus_files_end": end[3],
        "slowest_s": slowest,
        "crashes": 0,  # libFuzzer ends at the first one, without DONE
        "warnings_are_errors": True,  # run.py sees to it
        "seed": int(find(_SEED)[1]),
    }


def added(results: dict[str, Any], run: dict[str, Any]) -> dict[str, Any]:
    """The results with one run more.

    Raises:
        ValueError: if the run is among them already.
    """
    if any(run["seed"] == r.get("seed") and run["target"] == r["target"] for r in results["runs"]):
        raise ValueError(f"the run of {run['target']} with the seed {run['seed']} is there already")
    runs = [*results["runs"], run]
    count = sum(r["executions"] for r in runs)
    state = "reached" if count >= AIM else "not reached"
    aim = f"{AIM:,} executions over the readers; {state}"
    return {**results, "aim": aim, "executions": count, "runs": runs}


def main(paths: list[str]) -> None:
    for path in paths:
        results = json.loads(RESULTS.read_text("utf-8"))
        results = added(results, run_of(Path(path).read_text("utf-8", "replace")))
        RESULTS.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", "utf-8")
        print(f"{path}: {results['executions']:,} executions in all")


if __name__ == "__main__":
    main(sys.argv[1:])
