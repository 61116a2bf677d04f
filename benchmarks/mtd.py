"""PatchCore on Magnetic Tile Defects, the commands' defaults: built-in backbone and ResNet-18.

    python benchmarks/mtd.py

Trains and evaluates as ``pyad-edge train patchcore --data mtd`` and ``pyad-edge eval`` do: whole
pictures at 256 x 256, a 1 % coreset of four fifths of train/good, the rest for the threshold, all
of test. ResNet-18 is exported from the shared weights, which needs the extra [train].
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

from mtd_patchcore import resnet18_weights
from report import shared, write_result

from pyad_edge import Runtime, ops
from pyad_edge.console import err
from pyad_edge.export.evaluate import evaluate, render
from pyad_edge.export.methods.patchcore import make_settings
from pyad_edge.export.onnx import export_backbone
from pyad_edge.export.progress import progress_bar
from pyad_edge.export.train import train_patchcore

SEEDS = (0, 1, 2)  # of the hold-out, the projection and the coreset's start; 0 is the default


def measure(backbone: str, folder: Path, seed: int) -> dict[str, Any]:
    """Train and evaluate with one backbone and seed."""
    data, engine = shared("data", "mtd"), folder / "part.pyad"
    with progress_bar() as progress:
        train = train_patchcore(
            data, engine, settings=make_settings(seed=seed), backbone=backbone, progress=progress
        )
        runtime = Runtime(engine)
        report = evaluate(runtime, data, progress=progress)
    err.print(render(report))
    return {
        "backbone": runtime.engine.manifest.backbone.name,
        "backbone_megabytes": runtime.engine.tensors["network/onnx"].nbytes / 1e6,
        "image_auroc": report.image_auroc,
        "pixel_auroc": report.pixel_auroc,
        "aupro": report.aupro,
        "f1_max": report.f1_max,
        "ms_per_picture": report.ms_median,
        "fitted_on": train.pictures,
        "calibrated_on": train.calibration_pictures,
        "bank_rows": train.bank_rows,
        "train_seconds": train.seconds,
        "threshold": report.threshold_statement,
        "defects": [vars(row) for row in report.rows],
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--out", type=Path, help="JSON file instead of benchmarks/results")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        resnet18 = folder / "resnet18.onnx"
        export_backbone("resnet18", weights=resnet18_weights(), layers="2,3", out=resnet18)
        rows = []
        for backbone in ("edge18", str(resnet18)):
            first, *others = [measure(backbone, folder, seed) for seed in SEEDS]
            by_seed = [row["image_auroc"] for row in (first, *others)]
            rows.append({**first, "image_auroc_by_seed": by_seed})
    write_result("mtd", {"rows": rows}, threads=ops.num_threads(), out=options.out)


if __name__ == "__main__":
    main()
