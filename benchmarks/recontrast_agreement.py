"""ReContrast's engine beside the model that was trained: every test picture of MTD.

    python benchmarks/recontrast_agreement.py

Trains for a few iterations (agreement does not depend on how well), exports, and scores the same
pre-processed pictures with both; the limit is the engine's own, from its calibration pictures.
Writes benchmarks/results/recontrast_agreement.json.
"""

from __future__ import annotations

import argparse
import json

import numpy as np
import torch
from mtd_patchcore import resnet18_weights
from report import RESULTS, commit, machine, shared

from pyad_edge import ops
from pyad_edge.calibration import threshold_for
from pyad_edge.engine_manifest import Preprocessing
from pyad_edge.export.data import load_dataset
from pyad_edge.export.methods.patchcore.fit import calibrate
from pyad_edge.export.methods.recontrast.agreement import model_score
from pyad_edge.export.methods.recontrast.backbone import build_encoder
from pyad_edge.export.methods.recontrast.engine import export_model
from pyad_edge.export.methods.recontrast.fit import fit
from pyad_edge.export.methods.recontrast.settings import make_settings
from pyad_edge.export.training.pictures import PictureSource
from pyad_edge.export.training.stages import open_data
from pyad_edge.frame_files import read_frame


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--iterations", type=int, default=20)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    ops.set_num_threads(options.threads)
    torch.set_num_threads(options.threads)
    settings = make_settings(iterations=options.iterations, alpha_rise=1.0, precision="bf16")
    pictures = open_data(
        shared("data", "mtd"),
        holdout=settings.holdout,
        seed=settings.seed,
        resize=settings.resize,
        crop=None,
    )
    encoder = build_encoder("resnet18", weights=resnet18_weights())
    preprocessing = Preprocessing(
        resize=settings.resize, crop=None, mean=encoder.mean, std=encoder.std, color_order="rgb"
    )
    model, _ = fit(
        encoder,
        PictureSource(pictures.fit, preprocessing),
        settings,
        identity={},
        device=torch.device("cpu"),
    )
    exported = export_model(
        model,
        settings,
        backbone="resnet18",
        weights_sha256=encoder.weights_sha256,
        preprocessing=preprocessing,
    )
    pipeline = exported.pipeline(threads=options.threads)
    limit = threshold_for(calibrate(pipeline, pictures.held).scores, settings.false_reject).value
    x = np.empty((1, 3, *settings.input_size), np.float32)
    differences, flips = [], 0
    samples = load_dataset(shared("data", "mtd"), require_test=True).test
    for sample in samples:
        frame = read_frame(sample.path, None)
        found = float(pipeline.score([frame]).image[0])
        pipeline.write_input(frame, out=x)
        expected = model_score(model, x, settings)
        differences.append(abs(found - expected) / abs(expected))
        flips += (found > limit) != (expected > limit)
    content = {
        "benchmark": "recontrast_agreement",
        "iterations": options.iterations,
        "pictures": len(samples),
        "largest_relative_difference": max(differences),
        "median_relative_difference": float(np.median(differences)),
        "limit": limit,
        "verdicts_that_differ": flips,
        "commit": commit(),
        "machine": machine(options.threads),
    }
    (RESULTS / "recontrast_agreement.json").write_text(json.dumps(content, indent=1) + "\n")
    print(content)


if __name__ == "__main__":
    main()
