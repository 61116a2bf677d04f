"""Runtime.decide beside Runtime.infer: the same verdict on every frame, and how it was settled.

    python benchmarks/decide_agreement.py

Every picture of MTD's test set at 256 px with ResNet-18, and generated frames at 112 px with the
embedded backbone: 400 flanges, one in five with a defect, each shown again and again with another
shift, exposure and noise. Banks are 10 % coresets. Each frame is inferred once and decided at three
limits, with a band for review below each: the median, the 95th percentile and the largest of the
calibration pictures' scores. Fails where one verdict differs.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mtd_patchcore import DIM, resnet18
from numpy.typing import NDArray
from report import load, mtd_pictures, write_result

from pyad_edge import Runtime, Verdict, ops, read_image
from pyad_edge.export.backbones import Backbone, resolve_backbone
from pyad_edge.export.demo import DEFECTS, make_part
from pyad_edge.export.methods.patchcore import (
    calibrate,
    export_engine,
    fit,
    golden_frames,
    make_settings,
)

Frame = NDArray[np.uint8]

QUANTILES = (0.5, 0.95, 1.0)
REVIEW = 0.95  # of the limit
FITTED, CALIBRATED = 200, 100
FLANGE_SIZE, FLANGES = 112, 400


def main() -> None:
    parser = argparse.ArgumentParser(description="decide == infer")
    parser.add_argument("--threads", type=int, default=2, help="of the network and the kernels")
    parser.add_argument("--frames", type=int, default=10_000, help="generated ones")
    parser.add_argument("--pictures", type=int, help="of MTD's test set; none: all")
    parser.add_argument("--only", choices=["mtd", "flange"])
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    ops.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        train, test, _ = mtd_pictures()
        mixed = [train[n] for n in np.random.default_rng(0).permutation(len(train))]
        rows = []
        if options.only != "flange":
            runtime = _engine(folder, mixed, resnet18(), 256, DIM, options.threads)
            rows.append(_compare("mtd", runtime, lambda: map(read_image, test[: options.pictures])))
        if options.only != "mtd":
            pictures, edge18 = _flanges(folder / "flange"), resolve_backbone("edge18")
            runtime = _engine(folder, pictures, edge18, FLANGE_SIZE, None, options.threads)
            rows.append(_compare("flange", runtime, lambda: _frames(options.frames)))
    content = {"quantiles": QUANTILES, "review": REVIEW, "rows": rows}
    write_result("decide_agreement", content, threads=options.threads, out=options.out)
    if any(limit["disagreements"] for row in rows for limit in row["limits"]):
        raise SystemExit("decide and infer disagree")


def _compare(name: str, runtime: Runtime, frames: Callable[[], Iterator[Frame]]) -> dict[str, Any]:
    calibration = runtime.engine.tensors["calibration/scores"]
    limits = [float(np.quantile(calibration, q)) for q in QUANTILES]
    found: list[list[Any]] = [[] for _ in limits]
    scores = []
    for n, frame in enumerate(frames()):
        scores.append(runtime.infer(frame).score)
        for limit, decisions in zip(limits, found, strict=True):
            runtime.set_threshold(value=limit, review=REVIEW * limit)
            decisions.append(runtime.decide(frame))
        if n % 1000 == 999:
            print(f"  {name}: {n + 1} frames (load {load()})", flush=True)
    bank = runtime.engine.tensors["bank/features"]
    rows = []
    for limit, decisions in zip(limits, found, strict=True):
        wanted = [Verdict.of(score, limit, REVIEW * limit) for score in scores]
        ok = [d for d in decisions if d.verdict is Verdict.OK]
        patches = decisions[0].patches
        rows.append(
            {
                "limit": limit,
                "disagreements": sum(
                    d.verdict is not w or d.score not in (None, s)
                    for d, w, s in zip(decisions, wanted, scores, strict=True)
                ),
                "verdicts": {v.value: sum(w is v for w in wanted) for v in Verdict},
                "settled_early": sum(d.settled == "early" for d in decisions),
                "ok_settled_early": sum(d.settled == "early" for d in ok),
                "patches_searched": float(np.mean([d.patches_searched for d in decisions])),
                "ok_patches_searched": float(np.mean([d.patches_searched for d in ok] or [0])),
            }
        )
        row = rows[-1]
        print(
            f"{name}: {len(scores):,} frames, limit {limit:.4g}: {row['disagreements']} differ, "
            f"{row['settled_early']:,} settled early; searched of {patches} patches: "
            f"{row['patches_searched']:.1f}, of OK frames {row['ok_patches_searched']:.1f} "
            f"{row['verdicts']}",
            flush=True,
        )
    return {
        "name": name,
        "backbone": runtime.engine.manifest.backbone.name,
        "bank": list(bank.shape),
        "frames": len(scores),
        "patches": found[0][0].patches,
        "limits": rows,
    }


def _engine(
    folder: Path,
    pictures: Sequence[Path],
    backbone: Backbone,
    size: int,
    dim: int | None,
    threads: int,
) -> Runtime:
    settings = make_settings(
        resize=(size, size), pre_dim=dim, target_dim=dim, coreset=0.1, holdout=0.0
    )
    model = fit(pictures[:FITTED], backbone, settings)
    pipeline = model.pipeline()
    held = pictures[FITTED : FITTED + CALIBRATED]
    export_engine(
        folder / "part.pyad",
        model,
        pipeline,
        calibrate(pipeline, held),
        golden=golden_frames(pictures),
        fingerprint="0" * 64,
    )
    return Runtime(folder / "part.pyad", threads=threads)


def _frames(count: int) -> Iterator[Frame]:
    base = []
    for n in range(min(count, FLANGES)):
        rng = np.random.default_rng(1_000_000 + n)
        defect = str(rng.choice(DEFECTS)) if n % 5 == 0 else None
        base.append(make_part(rng, size=FLANGE_SIZE, defect=defect)[0])
    for n in range(count):
        rng = np.random.default_rng(2_000_000 + n)
        shifted = np.roll(base[n % len(base)], rng.integers(-1, 2, 2), axis=(0, 1))
        exposed = shifted * rng.uniform(0.97, 1.03) + rng.normal(0.0, 1.5, shifted.shape)
        yield np.clip(np.rint(exposed), 0, 255).astype(np.uint8)


def _flanges(folder: Path) -> list[Path]:
    """Good ones to learn from and to calibrate with."""
    folder.mkdir()
    paths = [folder / f"{n:04}.png" for n in range(FITTED + CALIBRATED)]
    for n, path in enumerate(paths):
        picture, _ = make_part(np.random.default_rng(n), size=FLANGE_SIZE)
        cv2.imwrite(str(path), picture[..., ::-1])
    return paths


if __name__ == "__main__":
    main()
