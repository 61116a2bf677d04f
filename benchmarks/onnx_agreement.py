"""An engine's ONNX graph beside the engine's runtime: every test picture of MTD, every method.

    python benchmarks/onnx_agreement.py --folder DIR --methods patchcore recontrast

Engines are made by export_engines.py, with short schedules, or found in DIR; agreement does not
depend on how well a method was trained. Ensemble and refinement are fitted on 60 good pictures. A
graph has one frame size: pictures are resized to 256 x 256 first, for both. Rows are added to
benchmarks/results/onnx_agreement.json.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime
from export_engines import METHODS, engine_of
from mtd_methods import Lines, Place
from report import RESULTS, commit, load, machine, shared

from pyad_edge import Runtime, ops
from pyad_edge.engine import read_engine
from pyad_edge.export.data import load_dataset
from pyad_edge.export.methods.patchcore import make_settings
from pyad_edge.export.methods.refinement.engine import refine_engine
from pyad_edge.export.methods.refinement.settings import make_settings as refinement_settings
from pyad_edge.export.targets.onnx_pipeline import PipelineSettings, build_pipeline
from pyad_edge.export.train import train_patchcore
from pyad_edge.frame_files import read_frame

RESULT = RESULTS / "onnx_agreement.json"
SIDE = 256
FEW = 60  # good pictures, of what is fitted here
EXTRA = ("ensemble", "refined")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--methods", nargs="+", default=(*METHODS, *EXTRA))
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--every", type=int, default=1, help="take one test picture of so many")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    ops.set_num_threads(options.threads)
    for method in options.methods:
        path = _engine(method, options.folder, options.threads)
        row = compare(path, options.threads, every=options.every)
        print(method, row, flush=True)
        content = json.loads(RESULT.read_text()) if RESULT.exists() else {"rows": {}}
        content |= {
            "benchmark": "onnx_agreement",
            "machine": machine(options.threads),
        }
        command = f"python benchmarks/onnx_agreement.py --methods {method} --every {options.every}"
        about = {"command": command, "commit": commit(), "load": load()}
        content["rows"][method] = row | about
        RESULT.write_text(json.dumps(content, indent=1) + "\n")


def compare(path: Path, threads: int, *, every: int) -> dict[str, Any]:
    """Scores, maps, verdicts and p-values of both on test pictures."""
    engine = read_engine(path)
    graph = build_pipeline(engine, settings=PipelineSettings(frame_size=(SIDE, SIDE)))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3  # else it says that the threshold may be overridden
    session = onnxruntime.InferenceSession(
        graph.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    runtime = Runtime(engine, threads=threads, spinning=False)
    samples = load_dataset(shared("data", "mtd"), require_test=True).test[::every]
    differences, maps, ratios, flips, other_p = [], [], [], 0, 0
    for sample in samples:
        frame = cv2.resize(read_frame(sample.path, None), (SIDE, SIDE))
        begin = time.perf_counter()
        score, drawn, verdict, p_value = session.run(None, {"frame": frame[np.newaxis]})
        middle = time.perf_counter()
        result = runtime.infer(frame)
        ratios.append((middle - begin) / (time.perf_counter() - middle))
        differences.append(abs(float(score[0]) - result.score) / _scale(runtime, result.score))
        reach = float(np.abs(result.anomaly_map).max())
        maps.append(float(np.abs(drawn[0] - result.anomaly_map).max()) / reach)
        flips += ("OK", "NG", "FAULT")[int(verdict[0])] != result.verdict.value
        other_p += float(p_value[0]) != np.float32(result.p_value)
    return {
        "pictures": len(samples),
        "largest_relative_difference": max(differences),
        "median_relative_difference": float(np.median(differences)),
        "largest_map_difference": max(maps),
        "verdicts_that_differ": int(flips),
        "p_values_that_differ": int(other_p),
        "limit": runtime.threshold.value,
        "graph_bytes": graph.ByteSize(),
        "graph_nodes": len(graph.graph.node),
        "time_over_the_runtimes_median": round(float(np.median(ratios)), 2),
    }


def _scale(runtime: Runtime, score: float) -> float:
    """An ensemble's scores lie around 0: they are measured as its golden scores are."""
    fusion = runtime.engine.manifest.fusion
    if fusion is None:
        return abs(score)
    raw = float(np.mean(np.abs(fusion.median) / (fusion.beta * np.asarray(fusion.mad))))
    return max(abs(score), raw)


def _engine(method: str, folder: Path, threads: int) -> Path:
    path = folder / f"{method}-seed0.pyad"
    if method not in EXTRA:
        return engine_of(method, folder, threads=threads)
    if not path.exists():
        _few(folder / "few")
        (_ensemble if method == "ensemble" else _refined)(folder, path, threads)
    return path


def _ensemble(folder: Path, path: Path, threads: int) -> None:
    train_patchcore(
        folder / "few",
        path,
        settings=make_settings(),
        backbone=[Place(folder, threads).resnet18(), "edge18"],
        threads=threads,
    )


def _refined(folder: Path, path: Path, threads: int) -> None:
    refine_engine(
        engine_of("patchcore", folder, threads=threads),
        folder / "few",
        path,
        settings=refinement_settings(epochs=2, picture=True, score="maximum"),
        threads=threads,
        progress=Lines(),
    )


def _few(folder: Path) -> None:
    """A folder of some good pictures, copied once."""
    if not folder.exists():
        folder.mkdir()
        good = sorted((shared("data", "mtd") / "train" / "good").iterdir())
        for picture in good[:: len(good) // FEW][:FEW]:
            shutil.copy(picture, folder / picture.name)


if __name__ == "__main__":
    sys.exit(main())
