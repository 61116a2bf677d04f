"""ReContrast end to end over its network alone, ResNet-18 shape, in one interleaved run.

    python benchmarks/recontrast_latency.py

Random weights; both sides run the same session: uint8 frame to verdict and map, against the network
on a prepared input.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from report import write_result

from pyad_edge import Runtime, ops
from pyad_edge.engine_manifest import Preprocessing
from pyad_edge.export.methods.patchcore.fit import Calibration
from pyad_edge.export.methods.recontrast.backbone import build_encoder
from pyad_edge.export.methods.recontrast.engine import export_engine, export_model
from pyad_edge.export.methods.recontrast.model import ReContrast
from pyad_edge.export.methods.recontrast.settings import make_settings

ROUNDS = 40


def engine(folder: Path, pairs: str) -> Path:
    """An engine with random weights whose encoders differ."""
    encoder = build_encoder("resnet18", weights="random")
    model = ReContrast(encoder.module, encoder.shape)
    with torch.no_grad():
        for parameter in model.encoder.parameters():
            parameter.mul_(1.01)
    settings = make_settings(pairs=pairs)
    made = export_model(
        model.eval(),
        settings,
        backbone="resnet18",
        weights_sha256=encoder.weights_sha256,
        preprocessing=Preprocessing(
            resize=(256, 256),
            crop=None,
            mean=encoder.mean,
            std=encoder.std,
            color_order="rgb",
        ),
    )
    scores = np.array([0.1, 0.2], np.float32)
    return export_engine(
        folder / f"{pairs}.pyad",
        made,
        made.pipeline(),
        Calibration(scores, scores),
        pictures=2,
        golden=np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3), np.uint8),
        fingerprint="random weights",
        facts={},
    )


def measure(file: Path, backend: str) -> dict[str, Any]:
    """Medians of both sides and of their ratio, round by round."""
    runtime = Runtime(file, backend=backend)
    frame = np.random.default_rng(1).integers(0, 256, (256, 256, 3), np.uint8)
    session = runtime.pipeline.backend.session(1)
    runtime.pipeline.write_input(frame, out=session.input)
    whole, alone = [], []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        runtime.infer(frame)
        middle = time.perf_counter()
        session.run()
        whole.append(middle - start)
        alone.append(time.perf_counter() - middle)
    ratio = np.array(whole[5:]) / np.array(alone[5:])
    return {
        "backend": backend,
        "end_to_end_ms": float(np.median(whole[5:])) * 1e3,
        "network_ms": float(np.median(alone[5:])) * 1e3,
        "ratio": float(np.median(ratio)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--out", type=Path, help="JSON file instead of benchmarks/results")
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as name:
        for pairs in ("both", "trained"):
            file = engine(Path(name), pairs)
            for backend in ("onnxruntime", "openvino"):
                rows.append({"pairs": pairs, **measure(file, backend)})
                print(rows[-1], flush=True)
    write_result("recontrast_latency", {"rows": rows}, threads=ops.num_threads(), out=options.out)


if __name__ == "__main__":
    main()
