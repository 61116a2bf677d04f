"""The engines that the peers are compared with: MTD, 256 px, ResNet-18 layers 2+3, 80 tiles.

80 tiles have 81,920 patches; 1 % and 10 % coresets are banks of 819 and 8,192 rows. ``average`` is
the embedding that anomalib has (3x3 mean, levels concatenated), scored by eq. 7 of the paper with
nine neighbours; ``official`` is the embedding of the paper's code, scored by the maximum.
"""

from __future__ import annotations

from pathlib import Path

from mtd_patchcore import DIM, resnet18
from report import mtd_pictures

from pyad_edge.export.methods.patchcore import (
    calibrate,
    export_engine,
    fit,
    golden_frames,
    make_settings,
)

SIZE = 256
FITTED, CALIBRATED = 80, 20
NEIGHBORS = 9  # of anomalib's default, and ours
BANKS = {"small": 0.01, "large": 0.1}


def make_engine(path: Path, embedding: str, bank: str) -> None:
    """Fit, calibrate and write one engine, in some seconds."""
    train, _, _ = mtd_pictures()
    dims = {"pre_dim": DIM, "target_dim": DIM} if embedding == "official" else {}
    settings = make_settings(
        resize=(SIZE, SIZE),
        aggregation=embedding,
        coreset=BANKS[bank],
        scoring="maximum" if embedding == "official" else "reweighted",
        neighbors=NEIGHBORS,
        holdout=0.0,
        **dims,
    )
    model = fit(train[:FITTED], resnet18(), settings)
    pipeline = model.pipeline()
    export_engine(
        path,
        model,
        pipeline,
        calibrate(pipeline, train[FITTED : FITTED + CALIBRATED]),
        golden=golden_frames(train),
        fingerprint="0" * 64,
    )
