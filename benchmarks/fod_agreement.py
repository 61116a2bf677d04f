"""FOD's engine beside the model that was trained: scores and verdicts of every test picture.

    python benchmarks/fod_agreement.py --folder DIR     # the checkpoints of mtd_fod.py

Both score the same pre-processed pictures of Magnetic Tile Defects; the limit is the engine's own,
from its calibration pictures. Writes benchmarks/results/fod_agreement.json.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from mtd_fod import settings_of, trained
from report import RESULTS, commit, machine, shared

from pyad_edge import ops
from pyad_edge.calibration import threshold_for
from pyad_edge.export.data import load_dataset
from pyad_edge.export.methods.fod.engine import export_model
from pyad_edge.export.methods.fod.scoring import model_map
from pyad_edge.export.methods.patchcore.fit import calibrate
from pyad_edge.frame_files import read_frame


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--row", default="resnet18")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    ops.set_num_threads(options.threads)
    torch.set_num_threads(options.threads)
    settings = settings_of(options.row, options.seed)
    done = trained(options.row, options.seed, options.folder, options.threads)
    exported = export_model(done.model, settings, preprocessing=done.preprocessing)
    pipeline = exported.pipeline(threads=options.threads)
    limit = threshold_for(
        calibrate(pipeline, done.pictures.held).scores, settings.false_reject
    ).value
    x = np.empty((1, 3, *settings.input_size), np.float32)
    differences, flips = [], 0
    samples = load_dataset(shared("data", "mtd"), require_test=True).test
    for sample in samples:
        frame = read_frame(sample.path, None)
        found = float(pipeline.score([frame]).image[0])
        pipeline.write_input(frame, out=x)
        maps, _ = model_map(done.model, x, settings.score, sigma=settings.sigma)
        expected = float(maps[0].max())
        differences.append(abs(found - expected) / abs(expected))
        flips += (found > limit) != (expected > limit)
    content = {
        "benchmark": "fod_agreement",
        "row": options.row,
        "seed": options.seed,
        "score": settings.score,
        "pictures": len(samples),
        "largest_relative_difference": max(differences),
        "median_relative_difference": float(np.median(differences)),
        "limit": limit,
        "verdicts_that_differ": flips,
        "commit": commit(),
        "machine": machine(options.threads),
    }
    (RESULTS / "fod_agreement.json").write_text(json.dumps(content, indent=1) + "\n")
    print(content)


if __name__ == "__main__":
    main()
