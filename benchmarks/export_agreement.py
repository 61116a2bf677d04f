"""Exports beside their engines: every method, target and precision on MTD's test set.

    python benchmarks/export_agreement.py --folder DIR [--methods patchcore fod] [--times]

Trains a small engine of each method once (export_engines.py, kept in the folder), builds each
export in memory as ``pyad-edge export`` does, and gives both forms the same frames: MTD's pictures
have many sizes and a graph has one, so all are resized to 256 x 256 with OpenCV first. int8 is
calibrated on 32 pictures of train/good. fp32 must give every verdict; AUROCs of all are recorded.
What has no runtime here is built, and the network that a plan is built from is compared on the
golden frames. OpenVINO's bf16 needs a processor that has it: elsewhere it would be float32 from
rounded weights, and the row is left as it is. Rows are added to
benchmarks/results/export_agreement.json as they are done; one that is there is skipped.

--times: times of the forms instead, interleaved, as ratios of the engine's; for a quiet machine.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import json
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
from export_engines import METHODS, SCHEDULES, engine_of
from report import (
    RESULTS,
    commit,
    load,
    machine,
    median_interval,
    mtd_pictures,
    shared,
    write_result,
)

from pyad_edge import Runtime, ops
from pyad_edge.backends.openvino_core import openvino_core
from pyad_edge.errors import BackendError, SettingError
from pyad_edge.export.metrics import image_auroc
from pyad_edge.export.targets.built import Built
from pyad_edge.export.targets.export import build
from pyad_edge.export.targets.forms import EngineForm, Form, Found
from pyad_edge.export.targets.frames import folder_frames, golden_frames
from pyad_edge.export.targets.settings import ExportSettings, make_settings
from pyad_edge.export.targets.verify import compare, limits_for

RESULT = RESULTS / "export_agreement.json"
SIZE = (256, 256)
CALIBRATION = 32
# (target, precision): the order of the table, and of the runs.
FORMS = (
    ("onnx", "fp32"),
    ("openvino", "fp32"),
    ("triton", "fp32"),
    ("tensorrt-rtx", "fp32"),
    ("onnx", "fp16"),
    ("openvino", "fp16"),
    ("triton", "fp16"),
    ("tensorrt-rtx", "fp16"),
    ("openvino", "bf16"),
    ("onnx", "int8"),
    ("openvino", "int8"),
    ("tensorrt-rtx", "bf16"),
    ("tensorrt-rtx", "int8"),
)
ROUNDS = 40


class Remembered:
    """The engine, asked once for each frame."""

    def __init__(self, form: Form) -> None:
        self._form = form
        self._known: dict[bytes, Found] = {}
        self.about = form.about

    def inspect(self, frames: Any) -> Found:
        found = [self._one(frame) for frame in frames]
        return Found(
            np.concatenate([one.scores for one in found]),
            np.concatenate([one.maps for one in found]),
            tuple(verdict for one in found for verdict in one.verdicts),
        )

    def _one(self, frame: Any) -> Found:
        key = hashlib.sha256(frame.tobytes()).digest()
        if key not in self._known:
            self._known[key] = self._form.inspect(frame[None])
        return self._known[key]


def settings_of(target: str, precision: str, folder: Path) -> ExportSettings:
    plan = target.startswith("tensorrt")
    return make_settings(
        target=target,
        precision=precision,
        frame_size=None if plan else SIZE,
        batch=1 if plan else None,
        calibration=calibration(folder) if precision == "int8" else None,
    )


def calibration(folder: Path) -> Path:
    """A folder of pictures of train/good."""
    pictures = folder / "calibration"
    if not pictures.exists():
        train, _, _ = mtd_pictures()
        pictures.mkdir()
        for path in train[:: len(train) // CALIBRATION][:CALIBRATION]:
            shutil.copy(path, pictures)
    return pictures


def measure(
    method: str,
    form: tuple[str, str],
    runtime: Runtime,
    ours: Remembered,
    folder: Path,
    threads: int,
    same: dict[str, dict[str, Any]],
) -> dict[str, Any]:
    """One row; ``same`` knows figures by the SHA-256 of the graph that they are of."""
    target, precision = form
    settings = settings_of(target, precision, folder)
    start = time.perf_counter()
    row: dict[str, Any] = {"method": method, "target": target, "precision": precision}
    about = {
        "commit": commit(),
        "load": load(),
        "machine": machine(threads),
        "command": f"python benchmarks/export_agreement.py --methods {method}",
    }
    try:
        built = build(runtime, settings, threads=threads)
    except (
        BackendError
    ) as error:  # a builder that lacks an operator in this precision, by its words
        return {**row, "bytes": 0, "refused": str(error), **about}
    row |= {
        "calibration_pictures": CALIBRATION if precision == "int8" else None,
        "bytes": sum(map(len, built.files.values())),
        "files": {
            name or ".onnx": hashlib.sha256(c).hexdigest() for name, c in built.files.items()
        },
        "not_run": built.not_run,
        "build_seconds": round(time.perf_counter() - start, 1),
        "schedule": SCHEDULES[method],
        "engine_sha256": runtime.engine.file_sha256,
        "threshold": runtime.threshold.value,
    }
    if target == "triton":
        parsed(built)
    if built.open is not None:
        row |= _figures(built, settings, runtime, ours, same)
    return {**row, **about}


def parsed(built: Built) -> None:
    """Triton's configuration in Triton's own words, which refuse what they do not know."""
    from google.protobuf import text_format
    from tritonclient.grpc import model_config_pb2

    text_format.Parse(built.files["config.pbtxt"], model_config_pb2.ModelConfig())


def _figures(
    built: Built,
    settings: ExportSettings,
    runtime: Runtime,
    ours: Remembered,
    same: dict[str, dict[str, Any]],
) -> dict[str, Any]:
    graph = built.files.get("") or built.files.get("1/model.onnx")
    digest = None if graph is None else hashlib.sha256(graph).hexdigest()
    if digest is not None and digest in same:  # what Triton serves is the ONNX file, to the byte
        return same[digest]
    assert built.open is not None
    limits = limits_for(settings.precision, runtime.engine)
    golden = golden_frames(runtime, built.frame_size)
    if built.not_run is None:
        count, frames = folder_frames(shared("data", "mtd", "test"), runtime, built.frame_size)
    else:
        count, frames = len(golden), iter(golden)
    found = compare(runtime.engine, ours, built.open(), frames, count=count, batch=settings.batch)
    figures = found.to_dict()
    scores = np.array(list(figures.pop("scores").values()))
    if built.not_run is None and np.isfinite(scores).all():
        defect = np.array([not name.startswith("good/") for name in found.scores])
        figures["engine_auroc"] = image_auroc(defect, scores[:, 0])
        figures["image_auroc"] = image_auroc(defect, scores[:, 1])
    figures |= {"tolerance": limits.tolerance, "faults": found.faults(limits)}
    if digest is not None:
        same[digest] = figures
    return figures


def times(methods: list[str], folder: Path, threads: int, out: Path | None) -> None:
    """Median times of the forms that run here, interleaved frame by frame, over the engine's."""
    rows = []
    for method in methods:
        runtime = Runtime(engine_of(method, folder, threads=threads), threads=threads)
        _, frames = folder_frames(shared("data", "mtd", "test"), runtime, SIZE)
        values = [next(frames).values[None] for _ in range(8)]
        forms: dict[tuple[str, str], Form] = {("engine", "fp32"): EngineForm(runtime)}
        for target, precision in FORMS:
            if target in ("onnx", "openvino") and precision != "fp16":  # a size, not a speed
                settings = settings_of(target, precision, folder).model_copy(update={"batch": 1})
                built = build(runtime, settings, threads=threads)
                assert built.open is not None
                forms[target, precision] = built.open()
        taken: dict[tuple[str, str], list[float]] = {form: [] for form in forms}
        for n in range(ROUNDS):
            for name, form in forms.items():
                form.inspect(values[n % len(values)])  # its memory is warm after another's run
                start = time.perf_counter()
                form.inspect(values[n % len(values)])
                taken[name].append((time.perf_counter() - start) * 1e3)
        ours = np.array(taken["engine", "fp32"])
        for (target, precision), found in taken.items():
            ratio, low, high = median_interval(np.array(found) / ours)
            row: dict[str, Any] = {"method": method, "target": target, "precision": precision}
            row |= {"ms": float(np.median(found)), "ratio": ratio, "ratio_interval": [low, high]}
            rows.append(row)
            print(row, flush=True)
    write_result("export_times", {"rows": rows}, threads=threads, out=out)


def has_bf16() -> bool:
    """Whether OpenVINO computes in bf16 on this processor."""
    capabilities = openvino_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return "BF16" in capabilities


def known(result: Path) -> list[dict[str, Any]]:
    """Rows that are done."""
    return json.loads(result.read_text())["rows"] if result.exists() else []


def add(result: Path, row: dict[str, Any]) -> None:
    """Add a row; other processes may be adding theirs."""
    with result.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        rows = [old for old in known(result) if _key(old) != _key(row)] + [row]
        rows.sort(key=lambda own: (METHODS.index(own["method"]), FORMS.index(_key(own)[1:])))
        partial = result.with_suffix(".partial")
        text = json.dumps({"benchmark": "export_agreement", "rows": rows}, indent=1)
        partial.write_text(text + "\n")
        partial.replace(result)
    result.with_suffix(".lock").unlink(missing_ok=True)


def _key(row: dict[str, Any]) -> tuple[str, str, str]:
    return row["method"], row["target"], row["precision"]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--folder", type=Path, required=True, help="for what is trained")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--times", action="store_true")
    parser.add_argument("--again", action="store_true", help="measure rows that are there")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    ops.set_num_threads(options.threads)
    if options.times:
        times(options.methods, options.folder, options.threads, options.out)
        return
    result = options.out or RESULT
    for method in options.methods:
        engine = engine_of(method, options.folder, threads=options.threads)
        runtime = Runtime(engine, threads=options.threads)
        ours = Remembered(EngineForm(runtime))
        same: dict[str, dict[str, Any]] = {}
        for form in FORMS:
            if not options.again and (method, *form) in map(_key, known(result)):
                continue
            if form == ("openvino", "bf16") and not has_bf16():
                print(f"{method} openvino bf16: not run, this processor has no bf16", flush=True)
                continue
            try:
                row = measure(method, form, runtime, ours, options.folder, options.threads, same)
            except SettingError as error:
                raise SystemExit(f"{method} to {form}: {error}") from error
            add(result, row)
            shown = ("score_relative", "map_relative", "engine_auroc", "image_auroc", "faults")
            print(method, *form, {name: row.get(name) for name in shown}, flush=True)
            print("  flips", [flip["name"] for flip in row.get("flips", ())], flush=True)


if __name__ == "__main__":
    main()
