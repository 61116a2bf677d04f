"""PatchCore on Magnetic Tile Defects, with the commands' defaults, for each backbone.

python benchmarks/mtd.py --resnet18 r18.onnx --json benchmarks/results/mtd.json

Trains and evaluates as `pyad-edge train patchcore --data mtd --backbone B` and `pyad-edge eval` do:
whole pictures at 256 x 256, 1 % coreset of four fifths of train/good, the rest for the threshold.
The data lie in ../shared/data/mtd or under PYAD_EDGE_TEST_DATA; `r18.onnx` comes from
`pyad-edge backbone export resnet18 --weights FILE.safetensors --layers 2,3 --out r18.onnx`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import tempfile
from pathlib import Path

import onnxruntime

from pyad_edge import Runtime, __version__
from pyad_edge.console import err
from pyad_edge.export.evaluate import evaluate, render
from pyad_edge.export.methods.patchcore import make_settings
from pyad_edge.export.progress import progress_bar
from pyad_edge.export.train import train_patchcore
from pyad_edge.ops import cpu_level, num_threads

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, default=_data())
    parser.add_argument("--resnet18", type=Path, help="ONNX file of ResNet-18, layers 2 and 3")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    backbones = ["edge18"] + ([str(options.resnet18)] if options.resnet18 else [])
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for backbone in backbones:
            engine = Path(folder) / "part.pyad"
            with progress_bar() as progress:
                train = train_patchcore(
                    options.data, engine, settings=make_settings(), backbone=backbone, progress=progress
                )
                runtime = Runtime(engine)
                report = evaluate(runtime, options.data, progress=progress)
            err.print(render(report))
            rows.append(
                {
                    "backbone": runtime.engine.manifest.backbone.name,
                    "image_auroc": report.image_auroc,
                    "pixel_auroc": report.pixel_auroc,
                    "aupro": report.aupro,
                    "f1_max": report.f1_max,
                    "ms_median": report.ms_median,
                    "bank_rows": train.bank_rows,
                    "fitted_on": train.pictures,
                    "calibrated_on": train.calibration_pictures,
                    "fit_seconds": train.seconds,
                    "threshold": report.threshold_statement,
                    "defects": [vars(row) for row in report.rows],
                }
            )
    result = {
        "benchmark": "mtd-open, 256 x 256, defaults of train patchcore",
        "command": "python benchmarks/mtd.py --resnet18 r18.onnx --json benchmarks/results/mtd.json",
        "commit": subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
        ).stdout.strip(),
        "machine": {
            "processor": _processor(),
            "threads": num_threads(),
            "level": cpu_level(),
            "python": platform.python_version(),
            "onnxruntime": onnxruntime.__version__,
            "pyad_edge": __version__,
        },
        "rows": rows,
    }
    text = json.dumps(result, indent=2) + "\n"
    if options.json:
        options.json.write_text(text)
    else:
        print(text)


def _data() -> Path:
    shared = Path(os.environ.get("PYAD_EDGE_TEST_DATA", ROOT.parent / "shared"))
    return shared / "data" / "mtd"


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0]} ({os.cpu_count()} cores)" if names else platform.processor()


if __name__ == "__main__":
    main()
