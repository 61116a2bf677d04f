"""GRAD end to end over its network alone, both presets, in one interleaved run.

    python benchmarks/grad_latency.py
    python benchmarks/grad_latency.py --engines accurate.pyad compact.pyad
    python benchmarks/grad_latency.py --device cuda       # torch's and TensorRT's networks

Random weights unless engines are named: times do not depend on them, scores do. From a uint8 frame
in memory to verdict, map and regions (``infer``) and to the verdict alone (``decide``), against the
network on a prepared input, call by call in turn; blocks of all forms in turn; several processes.
A form whose scores are not those of the first one is not timed. On a quiet machine.
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from report import load, median_interval, write_result

from pyad_edge import Runtime, ops
from pyad_edge.errors import BackendError, SettingError
from pyad_edge.export.methods.grad.detector import PRESETS, flop
from pyad_edge.export.papers.random_engines import grad_engine, noise

# Backend, precision, and the largest difference of a score from the first form's with which one is
# timed.
FORMS = {
    "cpu": (("onnxruntime", "fp32", 1e-3), ("openvino", "fp32", 1e-3), ("openvino", "bf16", 0.06)),
    "cuda": (("torch", "fp32", 1e-3), ("torch", "fp16", 0.04), ("tensorrt", "fp16", 0.04)),
}
BLOCK, SETTLE = 12, 3
FRAMES = 8


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--engines", type=Path, nargs="+", help="instead of random weights")
    parser.add_argument("--device", choices=list(FORMS), default="cpu")
    parser.add_argument("--frame", type=int, nargs=2, default=(256, 256), help="height, width")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--blocks", type=int, default=4, help="of each form in each process")
    parser.add_argument("--restarts", type=int, default=3, help="processes")
    parser.add_argument("--out", type=Path, help="JSON file instead of benchmarks/results")
    options = parser.parse_args()
    ops.set_num_threads(options.threads)
    busy = load()
    with tempfile.TemporaryDirectory() as name:
        engines = options.engines or [grad_engine(Path(name), preset=preset) for preset in PRESETS]
        runs = []
        for _ in range(options.restarts):
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                arguments = (engines, tuple(options.frame), options.threads, options.blocks)
                runs.append(pool.apply(measure, (*arguments, options.device)))
    if not runs[0]:
        raise SystemExit(f"No backend runs on {options.device} here; nothing was timed.")
    rows = [_row([run[key] for run in runs], key) for key in runs[0]]
    for row in rows:
        print(row, flush=True)
    about = {
        "frame": list(options.frame),
        "weights": "of --engines" if options.engines else "random",
        "gflop": {name: flop(preset) / 1e9 for name, preset in PRESETS.items()},
        "load_before": busy,
        "rows": rows,
    }
    name = "grad_latency" if options.device == "cpu" else "grad_latency_cuda"
    write_result(name, about, threads=options.threads, out=options.out)


def measure(
    engines: Sequence[Path], size: tuple[int, int], threads: int, blocks: int, device: str
) -> dict[tuple[str, str, str], dict[str, list[float]]]:
    """Milliseconds of every call by engine, backend and precision; ratios call by call."""
    ops.set_num_threads(threads)
    frames = noise(size, FRAMES)
    forms: dict[tuple[str, str, str], dict[str, Callable[[int], Any]]] = {}
    found: dict[tuple[str, str, str], dict[str, list[float]]] = {}
    for engine in engines:
        expected: np.ndarray[Any, Any] | None = None
        for backend, precision, tolerance in FORMS[device]:
            try:
                count = threads if device == "cpu" else None
                runtime = Runtime(
                    engine, backend=backend, precision=precision, device=device, threads=count
                )
            except (BackendError, SettingError) as error:
                print(f"{backend} {precision}: {error}")
                continue
            scores = np.array([runtime.infer(frame).score for frame in frames])
            expected = scores if expected is None else expected
            error = float(np.abs(scores / expected - 1).max())
            if not error <= tolerance:
                raise SystemExit(f"{backend} {precision}: scores differ by {error:.1e}; not timed.")
            session = runtime.pipeline.backend.session(1)
            runtime.pipeline.write_input(frames[0], out=session.input)
            key = (runtime.engine.manifest.backbone.name, backend, precision)
            forms[key] = {
                "infer": lambda n, runtime=runtime: runtime.infer(frames[n]).timings,
                "network": lambda n, session=session: session.run(),
                "decide": lambda n, runtime=runtime: runtime.decide(frames[n]),
            }
            found[key] = {"score_error": [error]}
    for _ in range(blocks):
        for key, calls in forms.items():
            _block(calls, found[key])
    return found


def _block(calls: dict[str, Callable[[int], Any]], found: dict[str, list[float]]) -> None:
    for turn in range(BLOCK):
        for name, call in calls.items():
            start = time.perf_counter()
            given = call(turn % FRAMES)
            ms = (time.perf_counter() - start) * 1e3
            if turn < SETTLE:
                continue
            found.setdefault(name, []).append(ms)
            if name == "infer":
                for stage, taken in given.items():
                    found.setdefault(f"stage {stage}", []).append(taken)


def _row(runs: list[dict[str, list[float]]], key: tuple[str, str, str]) -> dict[str, Any]:
    taken = {name: np.concatenate([run[name] for run in runs]) for name in runs[0]}
    row: dict[str, Any] = {"detectors": key[0], "backend": key[1], "precision": key[2]}
    for name in ("infer", "decide", "network"):
        p50, low, high = median_interval(taken[name])
        row[name] = {
            "p50_ms": p50,
            "interval_ms": [low, high],
            "p99_ms": float(np.percentile(taken[name], 99)),
            "min_ms": float(taken[name].min()),
        }
    ratio, low, high = median_interval(taken["infer"] / taken["network"])
    row["infer_over_network"] = {"ratio": ratio, "interval": [low, high]}
    if "stage backbone" in taken:  # on a device nobody sees the stages
        own = taken["stage total"] - taken["stage backbone"]  # within the same call
        row["beside_network"] = {
            "ms": float(np.median(own)),
            "share": float(np.median(own / taken["stage backbone"])),
        }
    row["score_error"] = float(taken["score_error"].max())
    row["stages_ms"] = {
        name.removeprefix("stage "): float(np.median(values))
        for name, values in taken.items()
        if name.startswith("stage ")
    }
    row["calls"] = len(taken["infer"])
    return row


if __name__ == "__main__":
    main()
