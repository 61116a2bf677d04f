"""Runtime.decide on good frames, from a uint8 frame to the verdict, over the backbone alone.

    python benchmarks/decide_latency.py

224 px, banks of 16,385 rows, on pictures that were neither fitted nor calibrated with:

- ``resnet18-texture``: MTD, ResNet-18 layers 2+3, 384 dims; nothing has a fixed position;
- ``resnet18-part``: generated flanges, all in one position, the same network;
- ``wide_resnet50_2``: MTD, the network's shape with random weights, 1,024 dims.

Each at the limits that reject 5 % and 1 % of normal parts. decide, infer and the backbone alone,
the session that both run, are timed one after another, frame by frame; the claim is the median of
the ratios. Engines are kept in --engines and used again.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mtd_patchcore import DIM, resnet18
from numpy.typing import NDArray
from random_networks import resnet
from report import load, median_interval, mtd_pictures, write_result

from pyad_edge import Runtime, Verdict, ops, read_image
from pyad_edge.export.backbones import Backbone, resolve_backbone
from pyad_edge.export.demo import make_part
from pyad_edge.export.methods.patchcore import (
    calibrate,
    export_engine,
    fit,
    golden_frames,
    make_settings,
)

Frame = NDArray[np.uint8]

SIZE = 224
FITTED, CALIBRATED, TIMED = 209, 200, 60  # 209 x 784 patches: 10 % are 16,385 rows
RATES = (0.05, 0.01)
WARM_UP = 20
TARGETS = {"resnet18-texture": 1.3, "resnet18-part": 1.3, "wide_resnet50_2": 1.15}


def main() -> None:
    parser = argparse.ArgumentParser(description="decide over the backbone alone")
    parser.add_argument("--threads", type=int, default=2, help="of the network and the kernels")
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--engines", type=Path, help="folder to keep them in")
    parser.add_argument("--only", choices=list(TARGETS), action="append")
    parser.add_argument("--build", action="store_true", help="engines only")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    ops.set_num_threads(options.threads)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.engines or Path(temporary)
        for name in options.only or TARGETS:
            engine = folder / f"{name}.pyad"
            pictures = _part(folder) if name == "resnet18-part" else _texture()
            if not engine.exists():
                _export(engine, pictures, _backbone(name, folder), None if "wide" in name else DIM)
            if options.build:
                continue
            runtime = Runtime(engine, threads=options.threads)
            frames = [
                cv2.resize(read_image(path), (SIZE, SIZE))
                for path in pictures[FITTED + CALIBRATED :][:TIMED]
            ]
            rows += [_case(name, runtime, frames, rate, options.rounds) for rate in RATES]
    if options.build:
        return
    content = {"size": SIZE, "rows": rows}
    write_result("decide_latency", content, threads=options.threads, out=options.out)
    for row in rows:
        if row["decide/backbone"]["median"] > TARGETS[row["name"]]:
            raise SystemExit(f"{row['name']} is above {TARGETS[row['name']]}")


def _case(
    name: str, runtime: Runtime, frames: list[Frame], rate: float, rounds: int
) -> dict[str, Any]:
    runtime.set_threshold(false_reject=rate)
    for frame in frames:  # parity before any clock
        if runtime.decide(frame).verdict is not runtime.infer(frame).verdict:
            raise SystemExit(f"decide and infer differ on {name}")
    good = [frame for frame in frames if runtime.decide(frame).verdict is Verdict.OK]
    session = runtime.pipeline.backend.session(1)
    session.input[:] = np.random.default_rng(0).standard_normal(session.input.shape, "f4")
    calls: list[Callable[[Frame], object]] = [
        runtime.decide,
        lambda _: session.run(),
        runtime.infer,
        lambda _: session.run(),
    ]
    times = np.empty((rounds, len(calls)))
    for n in range(-WARM_UP, rounds):
        for c, call in enumerate(calls):
            start = time.perf_counter()
            call(good[n % len(good)])
            if n >= 0:
                times[n, c] = (time.perf_counter() - start) * 1e3
    alone = (times[:, 1] + times[:, 3]) / 2
    decisions = [runtime.decide(frame) for frame in good]
    stages = [runtime.decide(good[n % len(good)]).timings for n in range(rounds)]
    bank = runtime.engine.tensors["bank/features"]
    row: dict[str, Any] = {
        "name": name,
        "bank": list(bank.shape),
        "false_reject": rate,
        "good_frames": len(good),
        "patches": decisions[0].patches,
        "patches_searched": float(np.mean([d.patches_searched for d in decisions])),
        "settled_early": float(np.mean([d.settled == "early" for d in decisions])),
        "backbone_ms": round(float(np.median(alone)), 3),
        "stages_ms": {s: round(float(np.median([t[s] for t in stages])), 3) for s in stages[0]},
    }
    for mode, column in (("decide", 0), ("infer", 2)):
        median, low, high = median_interval(times[:, column] / alone)
        row[f"{mode}/backbone"] = {"median": median, "interval": [low, high]}
        row[f"{mode}_ms"] = {
            f"p{q}": round(float(np.percentile(times[:, column], q)), 3) for q in (50, 90, 99)
        }
    print(
        f"{name} {bank.shape} rate {rate}: decide {row['decide_ms']['p50']:.2f} ms, infer "
        f"{row['infer_ms']['p50']:.2f}, backbone {row['backbone_ms']:.2f}; decide/backbone "
        f"{row['decide/backbone']['median']:.3f}, infer/backbone "
        f"{row['infer/backbone']['median']:.3f}; searched {row['patches_searched']:.1f} of "
        f"{row['patches']}, early {row['settled_early']:.2f} (load {load()})",
        flush=True,
    )
    return row


def _backbone(name: str, folder: Path) -> Backbone:
    if name.startswith("resnet18"):
        return resnet18()
    file = folder / "wide_resnet50_2.onnx"
    file.write_bytes(resnet("wide_resnet50_2"))
    return resolve_backbone(file, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))


def _texture() -> list[Path]:
    train, _, _ = mtd_pictures()
    return [train[n] for n in np.random.default_rng(0).permutation(len(train))]


def _part(folder: Path) -> list[Path]:
    paths = [folder / "flange" / f"{n:04}.png" for n in range(FITTED + CALIBRATED + TIMED)]
    for n, path in enumerate(paths):
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            picture, _ = make_part(np.random.default_rng(n), size=SIZE)
            cv2.imwrite(str(path), picture[..., ::-1])
    return paths


def _export(path: Path, pictures: list[Path], backbone: Backbone, dim: int | None) -> None:
    settings = make_settings(
        resize=(SIZE, SIZE), pre_dim=dim, target_dim=dim, coreset=0.1, holdout=0.0
    )
    model = fit(pictures[:FITTED], backbone, settings)
    pipeline = model.pipeline()
    held = pictures[FITTED : FITTED + CALIBRATED]
    export_engine(
        path,
        model,
        pipeline,
        calibrate(pipeline, held),
        golden=golden_frames(pictures),
        fingerprint="0" * 64,
    )


if __name__ == "__main__":
    main()
