"""PatchCore of pyad_edge beside the official algorithm in its plain form, on all of MTD.

    python benchmarks/patchcore_oracle.py

Both fit on the 629 good tiles (256 px, ResNet-18 layers 2+3, 384 dims, 1 % coreset) with the same
projection matrix and start rows, and score every test picture by the plain maximum. Fails unless
the image AUROCs lie within 0.01 of each other and, given the same projected features and start,
the coreset indices are the same.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from mtd_patchcore import (
    DIM,
    Progress,
    official_settings,
    picks_of,
    projected_features,
    resnet18,
    resnet18_weights,
)
from oracle import patchcore as oracle
from report import load, mtd_pictures, write_result
from sklearn.metrics import roc_auc_score

from pyad_edge import ops
from pyad_edge.export.methods.patchcore import fit
from pyad_edge.images import read_image

SIZE = 256
START_ROWS = 10


def main() -> None:
    parser = argparse.ArgumentParser(description="PatchCore beside its plain form on MTD")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--limit", type=int, help="only so many pictures, for a quick trial")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)  # no speed is claimed here; on a busy machine two wait for each other
    ops.set_num_threads(options.threads)
    train, test, is_defect = mtd_pictures()
    if options.limit:
        every = max(1, len(test) // options.limit)
        train, test, is_defect = train[: options.limit], test[::every], is_defect[::every]
    settings = official_settings(SIZE)
    seconds: dict[str, float] = {}

    clock = _Clock(seconds)
    model = fit(train, resnet18(), settings, threads=options.threads, progress=Progress())
    clock("ours: fit")
    pipeline = model.pipeline(threads=options.threads)
    ours = np.array([float(pipeline.score([read_image(p)]).image[0]) for p in test])
    clock("ours: score")
    picks = picks_of(model)
    matrix = ops.random_projection(DIM, out_dim=settings.projection_dim, seed=settings.seed)
    projected = projected_features(train, model, matrix)
    start = ops.start_distances(projected, seed=settings.seed, count=START_ROWS)
    clock("again: features")
    plain = oracle.select_coreset(
        projected,
        len(picks),
        start,
        threads=options.threads,
        progress=_every("the same features", len(picks)),
    )
    clock("oracle: coreset, same projected features")
    same = int((plain == picks).sum())
    print(f"coreset indices: {same} of {len(picks)} the same", flush=True)
    del projected

    network = oracle.load_resnet18(resnet18_weights())
    found = [oracle.features(network, path, (SIZE, SIZE), DIM) for path in train]
    clock("oracle: features")
    features = np.concatenate(found)
    del found
    points = (torch.from_numpy(features) @ torch.from_numpy(matrix)).numpy()
    rows = np.random.default_rng(settings.seed).choice(len(points), START_ROWS, replace=False)
    own = oracle.select_coreset_by_products(
        points,
        len(picks),
        oracle.squared_start(points, rows.tolist()),
        progress=_every("its own features", len(picks)),
    )
    bank = features[own]
    clock("oracle: coreset, its own features")
    embedded = [oracle.features(network, path, (SIZE, SIZE), DIM) for path in test]
    theirs = np.array([oracle.image_score(queries, bank) for queries in embedded])
    clock("oracle: score")
    given_bank = np.array([oracle.image_score(queries, model.bank) for queries in embedded])
    difference = float(np.abs(given_bank / ours - 1).max())

    auroc = float(roc_auc_score(is_defect, ours))
    oracle_auroc = float(roc_auc_score(is_defect, theirs))
    common = len(np.intersect1d(own, picks))
    print(f"pictures: {len(train)} fitted, {len(test)} scored; bank {len(picks)} x {DIM}")
    print(f"image AUROC: pyad_edge {auroc:.4f}, oracle {oracle_auroc:.4f}")
    print(f"scores against the same bank differ by at most {difference:.1e} relative")
    print(f"picks in common when each selects from its own features: {common} of {len(picks)}")
    write_result(
        "patchcore_oracle",
        {
            "pictures": {"fitted": len(train), "scored": len(test)},
            "size": SIZE,
            "bank": [len(picks), DIM],
            "image_auroc": {
                "pyad_edge": auroc,
                "oracle": oracle_auroc,
                "difference": auroc - oracle_auroc,
            },
            "coreset": {
                "picks": len(picks),
                "same_given_the_same_features": same,
                "common_from_own_features": common,
            },
            "largest_relative_score_difference_same_bank": difference,
            "seconds": seconds,
        },
        threads=options.threads,
        out=options.out,
    )
    if same != len(picks) or abs(auroc - oracle_auroc) > 0.01:
        raise SystemExit("pyad_edge and the oracle disagree")


class _Clock:
    """Seconds since the last call, by name."""

    def __init__(self, seconds: dict[str, float]) -> None:
        self._seconds = seconds
        self._last = time.perf_counter()

    def __call__(self, name: str) -> None:
        now = time.perf_counter()
        self._seconds[name] = round(now - self._last, 2)
        print(f"{name}: {now - self._last:.1f} s (load {load()})", flush=True)
        self._last = time.perf_counter()


def _every(name: str, count: int) -> Callable[[int], None]:
    progress = Progress()
    return lambda made: progress(f"oracle's coreset from {name}", made, count)


if __name__ == "__main__":
    main()
