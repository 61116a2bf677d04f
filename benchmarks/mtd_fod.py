"""FOD on Magnetic Tile Defects at 256 px: two backbones, Table 4's views, every way of scoring.

    python benchmarks/mtd_fod.py --rows resnet18 --seeds 0 1 2 --folder DIR [--train-only]

Data, division and metrics are those of mtd_methods.py: four fifths of train/good to fit on, all of
test, the last step of the training. One trained model is scored in every way of Table 4. The
schedule was chosen by fod_validation.py on held-out training pictures with synthetic defects. Rows
are added to benchmarks/results/mtd_fod.json as they are done; a row that is there is skipped, and a
checkpoint in the folder is gone on from.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import time
from pathlib import Path
from typing import Any

import torch
from mtd_patchcore import resnet18_weights
from report import RESULTS, commit, load, machine, shared

from pyad_edge import Runtime, ops
from pyad_edge.engine_manifest import Preprocessing
from pyad_edge.export.evaluate import evaluate
from pyad_edge.export.methods.fod.backbone import build_backbone
from pyad_edge.export.methods.fod.fit import CheckpointOptions
from pyad_edge.export.methods.fod.model import Fod
from pyad_edge.export.methods.fod.reference import Reference
from pyad_edge.export.methods.fod.settings import FodSettings, make_settings
from pyad_edge.export.methods.fod.train import TrainedFod, fit_fod
from pyad_edge.export.methods.patchcore import make_settings as patchcore_settings
from pyad_edge.export.train import train_patchcore
from pyad_edge.export.training.checkpoint import load_checkpoint
from pyad_edge.export.training.loop import LoopReport
from pyad_edge.export.training.stages import open_data
from pyad_edge.export.training.state import unpack

RESULT = RESULTS / "mtd_fod.json"
STEPS, PICTURES = 150, 503  # of the paper's 100 epochs: 50,300 steps
SCHEDULE: dict[str, Any] = {
    "epochs": STEPS / PICTURES,
    "rate": 1e-3,
    "schedule": "cosine",
    "rows": 0.25,
    "precision": "bf16",
}
ROWS: dict[str, tuple[str, dict[str, Any]]] = {
    "resnet18": ("resnet18", {}),
    "tf_efficientnetv2_b0": ("tf_efficientnetv2_b0", {}),
    "resnet18, patch": ("resnet18", {"views": "patch", "score": "rec"}),
    "resnet18, intra": ("resnet18", {"views": "intra", "score": "rec"}),
    "resnet18, inter": ("resnet18", {"views": "inter"}),
    "resnet18, no skip": ("resnet18", {"skip": "code"}),
}


def finished(
    checkpoint: Path, settings: FodSettings, name: str, weights: Path
) -> TrainedFod | None:
    """The model of a checkpoint whose training is complete, without its features again."""
    if not checkpoint.exists():
        return None
    found = load_checkpoint(checkpoint, expected={"method": "fod"})
    data = open_data(
        shared("data", "mtd"),
        holdout=settings.holdout,
        seed=settings.seed,
        resize=settings.resize,
        crop=None,
    )
    same = found.state["fingerprint"] == data.fingerprint
    if not same or found.state["step"] != settings.steps(len(data.fit)):
        return None
    backbone = build_backbone(name, weights=weights, levels=settings.levels)
    correlated = settings.views in ("inter", "all")
    sides = zip(backbone.channels, settings.grids, strict=True)
    model = Fod(
        backbone,
        [Reference("mean", torch.zeros(h * w, C)) if correlated else None for C, (h, w) in sides],
        settings,
    )
    model.levels.load_state_dict(unpack(found.state["parts"], found.tensors)["model"])
    preprocessing = Preprocessing(
        resize=settings.resize,
        crop=None,
        mean=backbone.mean,
        std=backbone.std,
        color_order="rgb",
    )
    losses = tuple(found.state["losses"])
    loop = LoopReport(len(losses), len(losses), losses, float(found.state["seconds"]))
    return TrainedFod(model.eval(), loop, data, preprocessing, None)


PATCHCORE = "tf_efficientnetv2_b0, PatchCore"  # of ResNet-18 mtd_methods.json has it


def settings_of(row: str, seed: int) -> FodSettings:
    return make_settings(**SCHEDULE | ROWS[row][1] | {"seed": seed})


def trained(row: str, seed: int, folder: Path, threads: int) -> TrainedFod:
    """The model of a row; its losses lie beside its checkpoint."""
    backbone = ROWS[row][0]
    weights = (
        resnet18_weights()
        if backbone == "resnet18"
        else shared("weights", f"{backbone}.safetensors")
    )
    stem = f"{row.replace(', ', '-').replace(' ', '-')}-seed{seed}"
    checkpoint = folder / f"{stem}.safetensors"
    settings = settings_of(row, seed)
    if (done := finished(checkpoint, settings, backbone, weights)) is not None:
        return done
    options = CheckpointOptions(
        checkpoint=checkpoint,
        every=50,
        resume=checkpoint.exists(),
        csv=folder / f"{stem}.csv",
    )
    return fit_fod(
        shared("data", "mtd"),
        settings=settings,
        weights=weights,
        backbone=backbone,
        options=options,
        threads=threads,
    )


def patchcore(seed: int, folder: Path, threads: int) -> dict[str, Any]:
    """PatchCore with EfficientNetV2-B0 and the paper's aggregation, as mtd_methods.py trains it."""
    from mtd_methods import Place

    place = Place(folder, threads)
    engine = folder / f"patchcore-b0-seed{seed}.pyad"
    train_patchcore(
        shared("data", "mtd"),
        engine,
        settings=patchcore_settings(seed=seed, aggregation="official"),
        backbone=place.efficientnet(),
        threads=threads,
    )
    report = evaluate(Runtime(engine, threads=threads), shared("data", "mtd"))
    figures = {name: getattr(report, name) for name in ("image_auroc", "pixel_auroc", "aupro")}
    kinds = {row.name: row.image_auroc for row in report.rows if row.name != "good"}
    return {
        "row": PATCHCORE,
        "seed": seed,
        "backbone": "tf_efficientnetv2_b0",
        "scores": {"distance": {**figures, "by_defect": kinds}},
        "command": f"python benchmarks/mtd_fod.py --rows '{PATCHCORE}' --seeds {seed}",
        "commit": commit(),
        "load": load(),
        "machine": machine(threads),
    }


def known(result: Path) -> list[dict[str, Any]]:
    """Rows that are done."""
    return json.loads(result.read_text())["rows"] if result.exists() else []


def add(result: Path, row: dict[str, Any]) -> None:
    """Add a row; other processes may be adding theirs."""
    with result.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        rows = [*known(result), row]
        order = [*ROWS, PATCHCORE]
        rows.sort(key=lambda own: (order.index(own["row"]), own["seed"]))
        partial = result.with_suffix(".partial")
        partial.write_text(json.dumps({"benchmark": "mtd_fod", "rows": rows}, indent=1) + "\n")
        partial.replace(result)
    result.with_suffix(".lock").unlink(missing_ok=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rows", nargs="+", choices=[*ROWS, PATCHCORE], default=[*ROWS, PATCHCORE])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--folder", type=Path, required=True, help="for checkpoints and losses")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--train-only", action="store_true", help="measure later")
    parser.add_argument("--out", type=Path, default=RESULT)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    ops.set_num_threads(options.threads)
    torch.set_num_threads(options.threads)
    for seed in options.seeds:
        for row in options.rows:
            if any((own["row"], own["seed"]) == (row, seed) for own in known(options.out)):
                continue
            if row == PATCHCORE:
                add(options.out, patchcore(seed, options.folder, options.threads))
                continue
            start = time.perf_counter()
            done = trained(row, seed, options.folder, options.threads)
            seconds = time.perf_counter() - start
            print(f"{row} seed {seed}: loss {done.loss:.4f}, {seconds:.0f} s", flush=True)
            if options.train_only:
                continue
            from mtd_fod_measure import measure

            add(options.out, measure(row, seed, done, settings_of(row, seed), options.threads))


if __name__ == "__main__":
    main()
