"""From a uint8 frame in memory to a Result, beside the backbone alone, in one interleaved run.

    python benchmarks/latency.py

Engines of MTD at 224 px, banks of 1,638 and 16,385 rows (1 % and 10 % coresets of 209 tiles):
ResNet-18 layers 2+3 (384 dims), WideResNet-50-2 layers 2+3 (1,024 dims, random weights: the times
of its shape, not its scores), and the embedded backbone with 1,638 rows. The backbone runs (a) as
the pipeline runs it and (b) in a plain ONNX Runtime session with default options. Each pair is
timed A B A B; the claim is the median of the ratios. Idle threads of a session with default options
spin after each run and would slow whatever comes next, so that pair runs in blocks. ``decide``
stands beside backbone (a) on frames of good parts that it passes. Fails where infer / backbone (a)
or decide / backbone (a) is above the row's target.
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
from pyad_edge.export.backbones import Backbone, resolve_backbone
from pyad_edge.export.methods.patchcore import (
    calibrate,
    export_engine,
    fit,
    golden_frames,
    make_settings,
)
from pyad_edge.export.onnx import export_backbone
from pyad_edge.preprocessing import to_batch
from pyad_edge.result import Verdict

SIZE = 224
FITTED = 209  # tiles: 784 patches each, of which 1 % are 1,638 rows
CALIBRATED = 20
WIDE_DIM = 1024
TARGETS = {  # of infer / backbone (a), and of decide / backbone (a)
    "resnet18": (1.2, None),
    "resnet18-10": (2.2, 1.3),
    "wide_resnet50_2": (1.1, None),
    "wide_resnet50_2-10": (1.6, 1.15),
    "edge18": (None, None),
}
WARM_UP = 20
BLOCK, SETTLE = 20, 5  # runs of one contender in a row, and how many of them are not counted


def main() -> None:
    parser = argparse.ArgumentParser(description="infer beside the backbone alone")
    parser.add_argument("--threads", type=int, default=2, help="of the network and the kernels")
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--only", choices=list(TARGETS), action="append")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    ops.set_num_threads(options.threads)
    cases: list[tuple[str, Callable[[], Backbone], int | None, float]] = [
        ("resnet18", resnet18, DIM, 0.01),
        ("resnet18-10", resnet18, DIM, 0.1),
        ("wide_resnet50_2", wide_resnet50_2, WIDE_DIM, 0.01),
        ("wide_resnet50_2-10", wide_resnet50_2, WIDE_DIM, 0.1),
        ("edge18", lambda: resolve_backbone("edge18"), None, 0.01),
    ]
    rows = []
    for name, backbone, dim, coreset in cases:
        if not options.only or name in options.only:
            rounds = options.rounds // 4 if name.startswith("wide") else options.rounds
            found = _case(backbone(), dim, coreset, options.threads, rounds)
            rows.append({"name": name, **found})
    write_result("latency", {"size": SIZE, "rows": rows}, threads=options.threads, out=options.out)
    missed = [
        f"{row['name']}: {pair} is {row[pair]['median']:.3f}, above {target}"
        for row in rows
        for pair, target in zip(
            ("infer/backbone_a", "decide/backbone_a"), TARGETS[row["name"]], strict=True
        )
        if target is not None and row[pair]["median"] > target
    ]
    if missed:
        raise SystemExit("\n".join(missed))


def wide_resnet50_2() -> Backbone:
    """WideResNet-50-2 up to layer 3 with random weights: the papers' network, as work."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "wide_resnet50_2.onnx"
        export_backbone("wide_resnet50_2", weights="random", layers="2,3", out=file)
        return resolve_backbone(file)


def _case(
    backbone: Backbone, dim: int | None, coreset: float, threads: int, rounds: int
) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        engine = Path(folder) / "part.pyad"
        bank = _export(engine, backbone, dim, coreset)
        runtime = Runtime(engine, threads=threads)
    preprocessing = runtime.engine.manifest.preprocessing
    frames = _frames(_spread())
    batches = [to_batch([frame], preprocessing) for frame in frames]
    # The very session of the pipeline: where its weights happen to lie is worth 5 % of a large one.
    ours = runtime.pipeline.backend
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
    passed = _frames(_good())
    passed = [frame for frame in passed if runtime.decide(frame).verdict is Verdict.OK]
    if len(passed) < 4:
        raise SystemExit(f"only {len(passed)} frames of good parts pass")
    decisions = [runtime.decide(frame) for frame in passed]
    for frame, decision in zip(passed, decisions, strict=True):
        if runtime.infer(frame).verdict is not decision.verdict:
            raise SystemExit("decide and infer differ")
    contender = contenders["backbone_a"][0]
    times = _interleaved(
        (lambda n: runtime.decide(passed[n % len(passed)]), contender), len(frames), rounds, 1, 0
    )
    ratio, low, high = median_interval(times[:, 0] / times[:, 1])
    result["decide/backbone_a"] = {
        "median": ratio,
        "interval": [low, high],
        "decide_ms": _percentiles(times[:, 0]),
        "backbone_a_ms": _percentiles(times[:, 1]),
        "frames": len(passed),
        "settled_early": sum(decision.settled == "early" for decision in decisions),
        "patches_searched": float(np.mean([d.patches_searched / d.patches for d in decisions])),
    }
    print(
        f"  decide {np.median(times[:, 0]):.2f} ms on {len(passed)} good frames, ratio "
        f"{ratio:.3f} [{low:.3f}, {high:.3f}]",
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


def _spread() -> list[Path]:
    """Sixteen test pictures, good and not."""
    _, test, _ = mtd_pictures()
    return test[:: len(test) // 15][:16]


def _good() -> list[Path]:
    """Up to 32 test pictures of good parts."""
    _, test, defective = mtd_pictures()
    good = [path for path, bad in zip(test, defective, strict=True) if not bad]
    return good[:: max(1, len(good) // 32)][:32]


def _frames(paths: Sequence[Path]) -> list[NDArray[np.uint8]]:
    """Pictures as frames of the network's size."""
    side = (SIZE, SIZE)
    return [cv2.resize(read_image(p), side, interpolation=cv2.INTER_AREA) for p in paths]


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
