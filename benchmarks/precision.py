"""What a precision costs: scores, AUROC and verdicts on MTD, features and time of each backend.

    python benchmarks/precision.py scores
    python benchmarks/precision.py times
    python benchmarks/precision.py grad --engine grad.pyad

scores: trains PatchCore once in fp32 (edge18 and ResNet-18, 1 % coreset, the commands' defaults) at
224 and 256 px and scores MTD's test set with every backend and precision that this machine offers:
the bank and the threshold stay those of fp32. int8 is calibrated once from the engine's golden
pictures alone and once from 32 normal pictures.

times: the network alone, ResNet-18 and WideResNet-50-2 (random weights), all forms interleaved, and
the error of its features on MTD.

grad: the scores of an engine that was trained on MTD before, such as one of ``train grad``.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from mtd_patchcore import resnet18_weights
from numpy.typing import NDArray
from report import median_interval, mtd_pictures, shared, write_result

from pyad_edge import Runtime, ops, read_image
from pyad_edge.backends.registry import open_backend
from pyad_edge.engine import Engine, read_engine
from pyad_edge.errors import BackendError, EngineError, SettingError
from pyad_edge.export.methods.patchcore import make_settings
from pyad_edge.export.metrics import image_auroc
from pyad_edge.export.onnx import export_backbone
from pyad_edge.export.progress import progress_bar
from pyad_edge.export.train import train_patchcore
from pyad_edge.prepare import calibration_batch, quantise
from pyad_edge.preprocessing import to_batch

SIZES = (224, 256)
FORMS = (
    ("onnxruntime", "fp32", ""),
    ("openvino", "fp32", ""),
    ("openvino", "bf16", ""),
    ("native", "fp32", ""),
    ("native", "bf16", ""),
    ("torch", "fp32", ""),
    ("torch", "fp16", ""),
    ("torch", "bf16", ""),
    ("onnxruntime", "int8", "golden pictures"),
    ("openvino", "int8", "golden pictures"),
    ("onnxruntime", "int8", "32 normal pictures"),
    ("openvino", "int8", "32 normal pictures"),
)
ROUNDS, CALIBRATION = 40, 32


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("part", choices=["scores", "times", "grad"])
    parser.add_argument("--engine", type=Path, help="of the part grad")
    parser.add_argument("--pictures", type=int, help="of MTD's test set; none: all")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--out", type=Path, help="JSON file instead of benchmarks/results")
    options = parser.parse_args()
    if (options.part == "grad") != (options.engine is not None):
        parser.error("--engine FILE belongs to the part grad, which needs one")
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["PYAD_EDGE_CACHE"] = str(folder / "cache")
        if options.part == "grad":
            engine = read_engine(options.engine)
            rows = _scores(engine, engine.manifest.network.input_size[0], options.pictures)
            about = {"trained": dict(engine.manifest.training.settings), "rows": rows}
            write_result("precision_grad", about, threads=ops.num_threads(), out=options.out)
            return
        network = folder / "resnet18.onnx"
        export_backbone("resnet18", weights=resnet18_weights(), layers="2,3", out=network)
        if options.part == "scores":
            for backbone in ("edge18", str(network)):
                for size in options.sizes:
                    engine = _train(backbone, folder / "part.pyad", size)
                    rows += _scores(engine, size, options.pictures)
        else:
            wide = folder / "wide_resnet50_2.onnx"
            export_backbone("wide_resnet50_2", weights="random", layers="2,3", out=wide)
            for path in (network, wide):
                for size in options.sizes:
                    rows += _times(path, size, options.rounds)
    write_result(
        f"precision_{options.part}", {"rows": rows}, threads=ops.num_threads(), out=options.out
    )


def _train(backbone: str, path: Path, size: int) -> Engine:
    with progress_bar() as progress:
        train_patchcore(
            shared("data", "mtd"),
            path,
            settings=make_settings(resize=(size, size)),
            backbone=backbone,
            progress=progress,
        )
    return read_engine(path)


def _scores(engine: Engine, size: int, pictures: int | None) -> list[dict[str, Any]]:
    train, test, is_defect = mtd_pictures()
    chosen_ones = np.linspace(0, len(test) - 1, pictures or len(test)).round().astype(int)
    frames, is_defect = [read_image(test[n]) for n in chosen_ones], is_defect[chosen_ones]
    rows: list[dict[str, Any]] = []
    wanted: NDArray[np.float64] | None = None
    for backend, precision, calibration in FORMS:
        row: dict[str, Any] = {"network": engine.manifest.backbone.name, "size": size}
        row |= {"backend": backend, "precision": precision}
        if calibration:
            row["calibration"] = calibration
            chosen = (
                to_batch(list(engine.tensors["golden/frames"]), engine.manifest.preprocessing)
                if calibration == "golden pictures"
                else calibration_batch(train[:: len(train) // CALIBRATION][:CALIBRATION], engine)
            )
            quantise(engine, chosen)
        try:
            runtime = Runtime(engine, backend=backend, precision=precision)
        except (BackendError, SettingError, EngineError) as error:
            rows.append({**row, "refused": str(error)})
            print(rows[-1], flush=True)
            continue
        found = np.array([runtime.infer(frame).score for frame in frames])
        wanted = found if wanted is None else wanted
        limit = runtime.threshold.value
        # Scores of score maps may be next to nothing: a tenth of the median is the least scale.
        scale = np.maximum(wanted, 0.1 * np.median(wanted))
        error = np.abs(found - wanted) / scale
        rows.append(
            {
                **row,
                "score_error_median": float(np.median(error)),
                "score_error_max": float(error.max()),
                "score_shift_median": float(np.median((found - wanted) / scale)),
                "image_auroc": image_auroc(is_defect, found),
                "verdict_flips": int(((found > limit) != (wanted > limit)).sum()),
                "good_rejected": int((found > limit)[~is_defect].sum()),
                "pictures": len(found),
                "golden_drift": runtime.info["golden_drift"],
            }
        )
        print(rows[-1], flush=True)
    return rows


def _times(path: Path, size: int, rounds: int) -> list[dict[str, Any]]:
    """Times of the network alone, interleaved, and the error of its features."""
    train, test, _ = mtd_pictures()
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

    def batch(paths: list[Path]) -> NDArray[np.float32]:
        return np.concatenate(
            [ops.preprocess(read_image(p), resize=(size, size), mean=mean, std=std) for p in paths]
        )

    pictures, model = batch(test[::100]), path.read_bytes()
    sessions = {}
    for backend, precision in dict.fromkeys(form[:2] for form in FORMS):
        try:
            opened = open_backend(
                backend,
                model,
                outputs=("layer2", "layer3"),
                input_size=(size, size),
                precision=precision,
                calibration=batch(train[:CALIBRATION]) if precision == "int8" else None,
            )
        except (BackendError, SettingError) as error:
            print(f"{path.stem}, {backend} {precision}: left out, {error}", flush=True)
            continue
        sessions[backend, precision] = opened.session(1)
    taken: dict[tuple[str, str], list[float]] = {form: [] for form in sessions}
    errors: dict[tuple[str, str], list[list[float]]] = {form: [] for form in sessions}
    for n in range(rounds):
        wanted = []
        for form, session in sessions.items():
            session.input[:] = pictures[n % len(pictures)]
            session.run()
            start = time.perf_counter()
            session.run()
            taken[form].append((time.perf_counter() - start) * 1e3)
            found = [array.copy() for array in session.outputs]
            wanted = wanted or found
            errors[form].append(
                [
                    float(np.linalg.norm(a - b) / np.linalg.norm(b))
                    for a, b in zip(found, wanted, strict=True)
                ]
            )
    rows = []
    for form in sessions:
        median, low, high = median_interval(taken[form])
        rows.append(
            {
                "network": path.stem,
                "size": size,
                "backend": form[0],
                "precision": form[1],
                "ms": median,
                "ms_interval": [low, high],
                "feature_error": np.mean(errors[form], axis=0).tolist(),
            }
        )
        print(rows[-1], flush=True)
    return rows


if __name__ == "__main__":
    main()
