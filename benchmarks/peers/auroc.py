"""Image AUROC on all of MTD's test pictures: our fp32 and bf16, anomalib's in OpenVINO likewise."""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch
from anomalib_forms import graph, openvino_form
from engines import NEIGHBORS
from mtd_patchcore import resnet18_weights
from report import mtd_pictures
from sklearn.metrics import roc_auc_score

from pyad_edge import Runtime, ops, read_image
from pyad_edge.preprocessing import to_batch


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--engine", type=Path, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--json", type=Path, required=True)
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    torch.set_num_threads(options.threads)
    ops.set_num_threads(options.threads)
    _, test, is_defect = mtd_pictures()
    frames = [read_image(path) for path in test]
    found: dict[str, float] = {}
    forms = (("onnxruntime", "fp32"), ("openvino", "bf16"), ("native", "bf16"))
    for backend, precision in forms:
        runtime = Runtime(
            options.engine, backend=backend, precision=precision, threads=options.threads
        )
        scores = [runtime.infer(frame).score for frame in frames]
        found[f"pyad_edge, {backend} {precision}"] = float(roc_auc_score(is_defect, scores))
    engine = runtime.engine
    bank = np.array(engine.tensors["bank/features"])
    batches = [to_batch([frame], engine.manifest.preprocessing) for frame in frames]
    for precision in ("fp32", "bf16"):
        model = graph(resnet18_weights(), bank, neighbors=NEIGHBORS)
        run = openvino_form(model, batches[0], precision, "latency hint", options.threads)
        theirs = float(roc_auc_score(is_defect, [run(batch)[0] for batch in batches]))
        found[f"anomalib, OpenVINO {precision}"] = theirs
    print(f"image AUROC: {found}", flush=True)
    options.json.write_text(json.dumps(found))


if __name__ == "__main__":
    main()
