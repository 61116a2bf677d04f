"""Coreset selection by lazy subsets beside the plain loop, on the same features in one run.

    python benchmarks/fit_time.py

All of MTD's good tiles at 256 px, ResNet-18 layers 2+3, 384 dims projected to 128: 6,440 picks of
644,096 patches. The plain loop is that of public code, done competently: torch, one matrix-vector
product per pick, in-place minimum. Ours runs before and after it, so that a change of the machine's
load shows; the slower of the two counts. Fails below a ratio of 5.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mtd_patchcore import DIM, Progress, official_settings, resnet18
from numpy.typing import NDArray
from oracle import patchcore as oracle
from report import load, mtd_pictures, write_result

from pyad_edge import ops
from pyad_edge.backends.onnxruntime import OnnxRuntimeBackend
from pyad_edge.engine_manifest import Aggregation, MemoryBankHead, Preprocessing
from pyad_edge.export.backbones import Backbone
from pyad_edge.export.methods.patchcore.extract import Extractor, project_all

SIZE = 256
TARGET = 5.0


def main() -> None:
    parser = argparse.ArgumentParser(description="coreset selection beside the plain loop")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--limit", type=int, help="only so many pictures, for a quick trial")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    ops.set_num_threads(options.threads)
    torch.set_num_threads(options.threads)
    train, _, _ = mtd_pictures()
    train = train[: options.limit]

    backbone = resnet18()
    features, points = _timed(lambda: _features(backbone, train, options.threads))
    print(f"features of {len(train)} pictures: {features['seconds']} s", flush=True)
    start = ops.start_distances(points, seed=0)
    count = int(len(points) * official_settings(SIZE).coreset)
    state: list[int] = []

    def select() -> NDArray[np.int64]:
        state.clear()
        return ops.greedy_coreset(points, count=count, initial=start, progress=state.append)

    first, picks = _timed(select)
    print(f"pyad_edge: {count} picks in {first['seconds']} s, {len(state)} passes", flush=True)
    progress = Progress()
    loop, plain = _timed(
        lambda: oracle.select_coreset_by_products(
            points, count, start, progress=lambda made: progress("plain loop", made, count)
        )
    )
    print(f"plain loop: {count} picks in {loop['seconds']} s", flush=True)
    again, repeated = _timed(select)
    print(f"pyad_edge again: {again['seconds']} s", flush=True)
    if not np.array_equal(picks, repeated):
        raise SystemExit("two runs of greedy_coreset picked differently")
    differing = np.flatnonzero(picks != plain)
    agreeing = int(differing[0]) if len(differing) else count
    ours = max(first["seconds"], again["seconds"])
    ratio = loop["seconds"] / ours
    cpu = loop["cpu_seconds"] / max(first["cpu_seconds"], again["cpu_seconds"])
    total = (features["seconds"] + loop["seconds"]) / (features["seconds"] + ours)
    print(f"plain loop / pyad_edge: {ratio:.1f} (processor time {cpu:.1f}, whole fit {total:.1f})")
    print(f"picks per pass: {count / len(state):.0f}")
    print(f"the loop's picks agree up to number {agreeing}, then its rounding parts them")
    write_result(
        "fit_time",
        {
            "points": list(points.shape),
            "picks": count,
            "features": features,
            "pyad_edge": [first, again],
            "plain_loop": loop,
            "ratio": round(ratio, 2),
            "ratio_cpu": round(cpu, 2),
            "ratio_whole_fit": round(total, 2),
            "passes": len(state),
            "picks_per_pass": round(count / len(state), 1),
            "loop_picks_before_rounding_parts_them": agreeing,
            "loop_picks_in_common": len(np.intersect1d(picks, plain)),
        },
        threads=options.threads,
        out=options.out,
    )
    if ratio < TARGET:
        raise SystemExit(f"the ratio is below {TARGET}")


def _features(backbone: Backbone, train: list[Path], threads: int) -> NDArray[np.float32]:
    head = MemoryBankHead(
        type="memory_bank",
        aggregation=Aggregation(variant="official", pre_dim=DIM, target_dim=DIM),
        scoring="maximum",
        neighbors=1,
    )
    preprocessing = Preprocessing(
        resize=(SIZE, SIZE), crop=None, mean=backbone.mean, std=backbone.std, color_order="rgb"
    )
    backend = OnnxRuntimeBackend(backbone.model, outputs=backbone.layers, threads=threads)
    projected, _ = project_all(
        train,
        Extractor(preprocessing, backend, head),
        ops.random_projection(DIM, seed=0),
        patches=(SIZE // backbone.strides[0]) ** 2,
        keep=False,
        progress=Progress(),
    )
    return projected


def _timed(run: Callable[[], Any]) -> tuple[dict[str, float], Any]:
    """Wall-clock and processor seconds of one call, with the machine's load behind it."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = run()
    return {
        "seconds": round(time.perf_counter() - wall, 2),
        "cpu_seconds": round(time.process_time() - cpu, 2),
        "load": load(),
    }, result


if __name__ == "__main__":
    main()
