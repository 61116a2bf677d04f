"""From a uint8 frame in memory to a Result, beside the backbone alone, in one interleaved run.

    python benchmarks/latency.py

Engines of MTD at 224 px: ResNet-18 layers 2+3 (384 dims) with 1,638 and 16,385 bank rows (1 % and
10 % coresets of 209 tiles), and the embedded backbone with 1,638. The backbone runs (a) as the
pipeline runs it and (b) in a plain ONNX Runtime session with default options. Each pair is timed
A B A B; the claim is the median of the ratios. Idle threads of a session with default options spin
after each run and would slow whatever comes next, so a pause stands before each call of pair (b).
Fails where infer / backbone (a) is above 1.4 for ResNet-18 with 1,638 rows.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime
from mtd_patchcore import DIM, resnet18
from numpy.typing import NDArray
from report import load, median_interval, mtd_pictures, write_result

from pyad_edge import Runtime, ops, read_image
from pyad_edge.backends.onnxruntime import OnnxRuntimeBackend
from pyad_edge.export.backbones import Backbone, resolve_backbone
from pyad_edge.export.methods.patchcore import (
    calibrate,
    export_engine,
    fit,
    golden_frames,
    make_settings,
)
from pyad_edge.preprocessing import to_batch

SIZE = 224
FITTED = 209  # tiles: 784 patches each, of which 1 % are 1,638 rows
CALIBRATED = 20
TARGET = 1.4
WARM_UP = 20
BLOCK, SETTLE = 20, 5  # runs of one contender in a row, and how many of them are not counted


def main() -> None:
    parser = argparse.ArgumentParser(description="infer beside the backbone alone")
    parser.add_argument("--threads", type=int, default=2, help="of the network and the kernels")
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--only", choices=["resnet18", "resnet18-10", "edge18"], action="append")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    ops.set_num_threads(options.threads)
    cases: list[tuple[str, Callable[[], Backbone], int | None, float]] = [
        ("resnet18", resnet18, DIM, 0.01),
        ("resnet18-10", resnet18, DIM, 0.1),
        ("edge18", lambda: resolve_backbone("edge18"), None, 0.01),
    ]
    rows = []
    for name, backbone, dim, coreset in cases:
        if not options.only or name in options.only:
            found = _case(backbone(), dim, coreset, options.threads, options.rounds)
            rows.append({"name": name, **found})
    write_result("latency", {"size": SIZE, "rows": rows}, threads=options.threads, out=options.out)
    for row in rows:
        for pair in ("infer/backbone_a", "infer/backbone_b"):
            if row["name"] == "resnet18" and row[pair]["median"] > TARGET:
                raise SystemExit(f"{pair} is above {TARGET}")


def _case(
    backbone: Backbone, dim: int | None, coreset: float, threads: int, rounds: int
) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        engine = Path(folder) / "part.pyad"
        bank = _export(engine, backbone, dim, coreset)
        runtime = Runtime(engine, threads=threads)
    preprocessing = runtime.engine.manifest.preprocessing
    frames = _frames()
    batches = [to_batch([frame], preprocessing) for frame in frames]
    ours = OnnxRuntimeBackend(backbone.model, outputs=backbone.layers, threads=threads)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    plain = onnxruntime.InferenceSession(
        backbone.model, options, providers=["CPUExecutionProvider"]
    )
    entry = plain.get_inputs()[0].name

    def run_plain(n: int) -> list[NDArray[np.float32]]:
        found: list[NDArray[np.float32]] = plain.run(list(backbone.layers), {entry: batches[n]})
        return found

    for n, batch in enumerate(batches):  # parity before any clock
        for a, b in zip(ours.run(batch), run_plain(n), strict=True):
            if float(np.abs(a - b).max()) > 1e-5 * float(np.abs(b).max()):
                raise SystemExit(f"the two sessions of {backbone.name} differ on frame {n}")

    contenders: dict[str, tuple[Callable[[int], object], int, int]] = {
        "backbone_a": (lambda n: ours.run(batches[n]), 1, 0),
        # The default session's threads go on spinning after a run and would take the cores from
        # what follows; in blocks, all but the first runs of each side are undisturbed.
        "backbone_b": (run_plain, BLOCK, SETTLE),
    }
    title = f"{backbone.name}, bank {bank[0]} x {bank[1]}, {threads} threads"
    print(f"{title}, level {ops.cpu_level()} (load {load()})", flush=True)
    result: dict[str, Any] = {"backbone": backbone.name, "bank": bank, "frames": len(frames)}
    for name, (contender, block, settle) in contenders.items():
        pair = (lambda n: runtime.infer(frames[n]), contender)
        times = _interleaved(pair, len(frames), rounds, block, settle)
        ratio, low, high = median_interval(times[:, 0] / times[:, 1])
        infer, alone = _percentiles(times[:, 0]), _percentiles(times[:, 1])
        result[f"infer/{name}"] = {
            "median": ratio,
            "interval": [low, high],
            "infer_ms": infer,
            f"{name}_ms": alone,
        }
        print(
            f"  infer {infer['p50']:.2f} ms, {name} {alone['p50']:.2f} ms (medians), "
            f"ratio {ratio:.3f} [{low:.3f}, {high:.3f}]",
            flush=True,
        )
    stages = [runtime.infer(frames[i % len(frames)]).timings for i in range(rounds)]
    result["stages_ms"] = {
        stage: round(float(np.median([times[stage] for times in stages])), 3) for stage in stages[0]
    }
    print("  stages:", ", ".join(f"{k} {v:.2f}" for k, v in result["stages_ms"].items()), "ms")
    return result


def _export(path: Path, backbone: Backbone, dim: int | None, coreset: float) -> list[int]:
    """Fit, calibrate and write an engine; returns the bank's shape."""
    train, _, _ = mtd_pictures()
    settings = make_settings(
        resize=(SIZE, SIZE), pre_dim=dim, target_dim=dim, coreset=coreset, holdout=0.0
    )
    model = fit(train[:FITTED], backbone, settings)
    pipeline = model.pipeline()
    export_engine(
        path,
        model,
        pipeline,
        calibrate(pipeline, train[FITTED : FITTED + CALIBRATED]),
        golden=golden_frames(train),
        fingerprint="0" * 64,
    )
    return list(model.bank.shape)


def _frames() -> list[NDArray[np.uint8]]:
    """Sixteen test pictures, good and not, as frames of the network's size."""
    _, test, _ = mtd_pictures()
    chosen = test[:: len(test) // 15][:16]
    side = (SIZE, SIZE)
    return [cv2.resize(read_image(p), side, interpolation=cv2.INTER_AREA) for p in chosen]


def _interleaved(
    runs: Sequence[Callable[[int], object]], frames: int, rounds: int, block: int, settle: int
) -> NDArray[np.float64]:
    """(rounds, contenders) ms; blocks of ``block`` runs in turn, without the first ``settle``."""
    for i in range(WARM_UP):
        for run in runs:
            run(i % frames)
    counted: list[list[float]] = [[] for _ in runs]
    while len(counted[0]) < rounds:
        for times, run in zip(counted, runs, strict=True):
            for i in range(block):
                start = time.perf_counter()
                run((len(times) + i) % frames)
                if i >= settle:
                    times.append((time.perf_counter() - start) * 1e3)
    return np.array(counted).T[:rounds]


def _percentiles(values: NDArray[np.float64]) -> dict[str, float]:
    found = np.percentile(values, (50, 90, 99))
    return {f"p{p}": round(float(v), 3) for p, v in zip((50, 90, 99), found, strict=True)}


if __name__ == "__main__":
    main()
