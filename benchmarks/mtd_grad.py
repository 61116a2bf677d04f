"""GRAD on Magnetic Tile Defects and on the generated sorting box: levels, fusion, ablation.

    python benchmarks/mtd_grad.py --data box --rows fused --folder DIR
    python benchmarks/mtd_grad.py --data mtd --folder DIR

Every row trains as ``pyad-edge train grad`` does (four fifths of train/good to fit on, the rest for
the threshold) and evaluates as ``pyad-edge eval`` does, at the training's last step. Rows share the
generated windows, so each PatchDiff is trained once. Beside GRAD: PatchCore with the built-in
backbone and with ResNet-18. Rows are added to one file as they are done; one that is there is
skipped. Settings were chosen on held-out training pictures and on a box of another seed, never on
test. A row's train_seconds are those of the call that wrote its engine: what lay there already,
such as windows or a level's detector, is not in them.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mtd_methods import Lines, Place
from report import RESULTS, commit, load, machine, shared

from pyad_edge import Runtime, ops
from pyad_edge.export.demo.box import write_box_dataset
from pyad_edge.export.evaluate import evaluate
from pyad_edge.export.methods.grad.settings import LEVELS, make_settings
from pyad_edge.export.methods.grad.train import train_grad
from pyad_edge.export.methods.grad.work import WorkFolder
from pyad_edge.export.methods.patchcore import make_settings as patchcore_settings
from pyad_edge.export.train import train_patchcore

SETTINGS: dict[str, dict[str, Any]] = {
    "box": {"diffusion_steps": 4000, "samples": 1000, "inside": 0.75, "detector_steps": 11_500},
    "mtd": {"diffusion_steps": 1500, "samples": 200, "inside": 0.5, "detector_steps": 5000},
}
SHORT: dict[str, Any] = {  # of the paper's schedule: what a CPU can do
    "diffusion_batch": 8,
    "sampling_steps": 20,
    "patches": 256,
    "neighbours": 4,
    "queue": 2048,
    "precision": "bf16",  # slower than fp32 by far on a CPU without AMX or AVX512_BF16
}
BOX = {"train": 400, "good": 200, "per_defect": 100}  # pictures; LOCO's pushpins have 372 to train
# Table 4: a level at a time, from none of the components to all of them, in shorter trainings.
ABLATION_STEPS = 1500
COMPONENTS: dict[str, dict[str, Any]] = {
    "baseline": {"reweight_tail": False, "reweight_noisy": False, "regularise": False},
    "regularised": {"reweight_tail": False, "reweight_noisy": False},
    "without-tail": {"reweight_tail": False},
    "complete": {},
}
ABLATION: dict[str, tuple[int, Mapping[str, Any]]] = {
    f"{name}-{level}": (level, switches | {"detector_steps": ABLATION_STEPS})
    for level in LEVELS
    for name, switches in COMPONENTS.items()
}
SOME = {f"level-{level}": (level,) for level in LEVELS} | {"fused-68-136": (68, 136)}
GRAD = (*SOME, "fused", "fused-mean", *ABLATION)
ROWS = (*GRAD, "patchcore-edge18", "patchcore-resnet18")
FIGURES = ("image_auroc", "pixel_auroc", "aupro")


def result_file(data: str) -> Path:
    return RESULTS / f"grad_{data}.json"


def pictures(data: str, folder: Path) -> Path:
    """The data set; the box is generated once, from seed 0."""
    if data == "mtd":
        return shared("data", "mtd")
    box = folder / "box"
    return box if box.exists() else write_box_dataset(box, seed=0, **BOX)


def train(data: str, row: str, seed: int, folder: Path, threads: int) -> tuple[Path, float]:
    """The engine of a row, trained if it is not there, and the seconds it took."""
    out = folder / f"{data}-{row}-seed{seed}.pyad"
    seconds = out.with_suffix(".seconds")
    if not out.exists():
        start = time.perf_counter()
        root = pictures(data, folder)
        if row.startswith("patchcore"):
            backbone = "edge18" if row.endswith("edge18") else Place(folder, threads).resnet18()
            settings = patchcore_settings(seed=seed)
            train_patchcore(root, out, settings=settings, backbone=backbone, threads=threads)
        else:
            levels: tuple[int, ...] = SOME.get(row, LEVELS)
            fusion = "mean" if row.endswith("mean") else "maximum"
            switches: Mapping[str, Any] = {}
            if row in ABLATION:
                level, switches = ABLATION[row]
                levels = (level,)
            values = SHORT | SETTINGS[data] | dict(switches)
            settings = make_settings(levels=levels, fusion=fusion, seed=seed, **values)
            train_grad(
                root,
                out,
                settings=settings,
                work=WorkFolder(_work(data, row, seed, folder), resume=True, every=100),
                threads=threads,
                progress=Lines(),
            )
        seconds.write_text(f"{time.perf_counter() - start:.1f}\n")
    return out, float(seconds.read_text())


def _work(data: str, row: str, seed: int, folder: Path) -> Path:
    """Detectors of an ablation are its own, generated windows are everybody's."""
    main = folder / f"{data}-seed{seed}"
    if row not in ABLATION:
        return main
    own = folder / f"{data}-seed{seed}-{row}"
    own.mkdir(exist_ok=True)
    for file in main.glob("samples-*.safetensors"):
        if not (own / file.name).exists():
            shutil.copyfile(file, own / file.name)
    return own


def measure(data: str, row: str, seed: int, folder: Path, threads: int) -> dict[str, Any]:
    engine, seconds = train(data, row, seed, folder, threads)
    runtime = Runtime(engine, threads=threads)
    report = evaluate(runtime, pictures(data, folder))
    training = runtime.engine.manifest.training
    return {
        "row": row,
        "seed": seed,
        **{name: getattr(report, name) for name in FIGURES},
        "by_defect": {one.name: one.image_auroc for one in report.rows if one.name != "good"},
        "test_pictures": {one.name: one.pictures for one in report.rows},
        "train_seconds": seconds,
        "pictures": training.pictures,
        "calibration_pictures": training.calibration_pictures,
        "settings": dict(training.settings),
        "command": f"python benchmarks/mtd_grad.py --data {data} --rows {row} --seeds {seed}",
        "commit": commit(),
        "load": load(),
        "machine": machine(threads),
    }


def add(file: Path, data: str, row: dict[str, Any]) -> None:
    """Add a row, in the place of an older one."""
    with file.with_suffix(".lock").open("w") as lock:  # other processes may be adding theirs
        fcntl.flock(lock, fcntl.LOCK_EX)
        same = (row["row"], row["seed"])
        rows = [old for old in known(file) if (old["row"], old["seed"]) != same] + [row]
        rows.sort(key=lambda own: (ROWS.index(own["row"]), own["seed"]))
        text = json.dumps({"benchmark": f"grad_{data}", "rows": rows}, indent=1)
        partial = file.with_suffix(".partial")
        partial.write_text(text + "\n")
        partial.replace(file)
    file.with_suffix(".lock").unlink(missing_ok=True)


def known(file: Path) -> list[dict[str, Any]]:
    return json.loads(file.read_text())["rows"] if file.exists() else []


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", choices=("mtd", "box"), required=True)
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=ROWS)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--folder", type=Path, required=True, help="for what is trained")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--again", action="store_true", help="measure rows that are there")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(options.threads)
    ops.set_num_threads(options.threads)
    file = options.out or result_file(options.data)
    for seed in options.seeds:
        for row in options.rows:
            if not options.again and (row, seed) in {(o["row"], o["seed"]) for o in known(file)}:
                continue
            done = measure(options.data, row, seed, options.folder, options.threads)
            add(file, options.data, done)
            figures = ", ".join(f"{np.round(done[name], 4)}" for name in FIGURES)
            print(f"{row} seed {seed}: {figures}, {done['train_seconds']:.0f} s", flush=True)


if __name__ == "__main__":
    main()
