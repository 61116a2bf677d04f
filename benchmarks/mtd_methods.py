"""All methods on Magnetic Tile Defects: 256 px, the same backbones, the same division, all of test.

    python benchmarks/mtd_methods.py --rows patchcore reconpatch-64 --seeds 0 1 2 --engines DIR
    python benchmarks/mtd_methods.py --rows recontrast --seeds 0 --engines DIR

Every row trains as its ``pyad-edge train`` command does (four fifths of train/good to fit on, the
rest for the threshold) and evaluates as ``pyad-edge eval`` does, at the training's last iteration.
Rows are added to one file as they are done, so that they can be run piece by piece; a row that is
there is skipped. Schedules were chosen on held-out training pictures with synthetic defects, never
on test. An engine or checkpoint that lies in --engines is used again; what FILE.note says about one
that was made another way is kept with its row.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mtd_patchcore import resnet18_weights
from report import RESULTS, commit, load, machine, shared

from pyad_edge import Runtime, ops
from pyad_edge.export.evaluate import evaluate
from pyad_edge.export.methods.patchcore import make_settings
from pyad_edge.export.methods.reconpatch.settings import make_reconpatch_settings
from pyad_edge.export.onnx import export_backbone
from pyad_edge.export.train import train_patchcore

RESULT = RESULTS / "mtd_methods.json"
SEEDS = (0, 1, 2)
# How each method was trained here, where that is not its default.
RECONPATCH: dict[str, Any] = {"start": "whitened", "rate": 1e-5, "batch": 512, "epochs": 0.25}
AGGREGATION: Literal["official", "average"] = "average"  # of the patches that the map is learned on
RECONTRAST: dict[str, Any] = {"iterations": 100, "alpha_rise": 1.0, "precision": "bf16"}
REFINEMENT: dict[str, Any] = {}
ENSEMBLE_DIM = 512
REFINED = "reconpatch-512"


@dataclass(frozen=True)
class Place:
    """Where a run keeps its files.

    Attributes:
        folder: engines, backbones, checkpoints.
        threads: of every step.
    """

    folder: Path
    threads: int

    def engine(self, row: str, seed: int) -> Path:
        return self.folder / f"{row}-seed{seed}.pyad"

    def resnet18(self) -> str:
        return self._backbone("resnet18", resnet18_weights())

    def efficientnet(self) -> str:
        weights = shared("weights", "tf_efficientnetv2_b0.safetensors")
        return self._backbone("tf_efficientnetv2_b0", weights)

    def _backbone(self, name: str, weights: Path) -> str:
        file = self.folder / f"{name}.onnx"
        if not file.exists():
            export_backbone(name, weights=weights, layers="2,3", out=file)
        return str(file)


def train_bank(
    place: Place,
    row: str,
    seed: int,
    *,
    dim: int | None = None,
    aggregation: Literal["official", "average"] = AGGREGATION,
    ensemble: bool = False,
) -> None:
    """PatchCore, or ReConPatch with ``dim`` dimensions; of one network or two."""
    backbones = [place.resnet18(), *([place.efficientnet()] if ensemble else [])]
    settings = (
        make_reconpatch_settings(dim=dim, seed=seed, **RECONPATCH) if dim is not None else None
    )
    train_patchcore(
        shared("data", "mtd"),
        place.engine(row, seed),
        settings=make_settings(seed=seed, aggregation=aggregation),
        reconpatch=settings,
        backbone=backbones,
        threads=place.threads,
    )


def train_recontrast(place: Place, row: str, seed: int) -> None:
    from pyad_edge.export.methods.recontrast.fit import CheckpointOptions
    from pyad_edge.export.methods.recontrast.settings import make_settings as recontrast_settings
    from pyad_edge.export.methods.recontrast.train import train_recontrast as train

    checkpoint = place.folder / f"{row}-seed{seed}.safetensors"
    train(
        shared("data", "mtd"),
        place.engine(row, seed),
        settings=recontrast_settings(seed=seed, **RECONTRAST),
        weights=resnet18_weights(),
        options=CheckpointOptions(checkpoint=checkpoint, resume=checkpoint.exists()),
        threads=place.threads,
        progress=Lines(),
    )


def refine(place: Place, row: str, seed: int) -> None:
    from pyad_edge.export.methods.refinement.engine import refine_engine
    from pyad_edge.export.methods.refinement.settings import make_settings as refinement_settings

    refine_engine(
        made(place, REFINED, seed),
        shared("data", "mtd"),
        place.engine(row, seed),
        settings=refinement_settings(seed=seed, **REFINEMENT),
        textures=shared("data", "natural"),
        threads=place.threads,
        progress=Lines(),
    )


ROWS: dict[str, Callable[[Place, str, int], None]] = {
    "patchcore": lambda *of: train_bank(*of, aggregation="official"),
    "patchcore-average": train_bank,
    "patchcore-ensemble": lambda *of: train_bank(*of, ensemble=True),
    "reconpatch-512": lambda *of: train_bank(*of, dim=512),
    "reconpatch-128": lambda *of: train_bank(*of, dim=128),
    "reconpatch-64": lambda *of: train_bank(*of, dim=64),
    "reconpatch-ensemble": lambda *of: train_bank(*of, dim=ENSEMBLE_DIM, ensemble=True),
    "refinement": refine,
    "recontrast": train_recontrast,
}


class Lines:
    """A line every half minute."""

    def __init__(self) -> None:
        self._last = time.perf_counter()

    def __call__(self, stage: str, done: int, of: int, note: str = "") -> None:
        if (now := time.perf_counter()) - self._last > 30:
            print(f"  {stage} {done} of {of} {note}", flush=True)
            self._last = now


def made(place: Place, row: str, seed: int) -> Path:
    """The engine of a row, trained if it is not there; how long that took lies beside it."""
    engine = place.engine(row, seed)
    seconds = engine.with_suffix(".seconds")
    if not engine.exists():
        start = time.perf_counter()
        ROWS[row](place, row, seed)
        seconds.write_text(f"{time.perf_counter() - start:.1f}\n")
    return engine


def measure(place: Place, row: str, seed: int) -> dict[str, Any]:
    """Train, evaluate, and say how."""
    engine = made(place, row, seed)
    seconds = float(engine.with_suffix(".seconds").read_text())
    runtime = Runtime(engine, threads=place.threads)
    report = evaluate(runtime, shared("data", "mtd"))
    manifest = runtime.engine.manifest
    return {
        "row": row,
        "seed": seed,
        "image_auroc": report.image_auroc,
        "pixel_auroc": report.pixel_auroc,
        "aupro": report.aupro,
        "train_seconds": seconds,
        "engine_megabytes": engine.stat().st_size / 1e6,
        "backbones": [
            manifest.backbone.name,
            *(member.backbone.name for member in manifest.members or ()),
        ],
        "pictures": manifest.training.pictures,
        "calibration_pictures": manifest.training.calibration_pictures,
        "settings": dict(manifest.training.settings),
        "refines": REFINED if row == "refinement" else None,
        "note": note.read_text().strip()
        if (note := engine.with_suffix(".note")).exists()
        else None,
        "command": " ".join(["python benchmarks/mtd_methods.py --rows", row, f"--seeds {seed}"]),
        "commit": commit(),
        "load": load(),
        "machine": machine(place.threads),
    }


def known(result: Path) -> list[dict[str, Any]]:
    """Rows that are done."""
    return json.loads(result.read_text())["rows"] if result.exists() else []


def add(result: Path, row: dict[str, Any]) -> None:
    """Add a row, in the place of an older one; other processes may be adding theirs."""
    result.parent.mkdir(parents=True, exist_ok=True)
    with result.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        same = (row["row"], row["seed"])
        rows = [old for old in known(result) if (old["row"], old["seed"]) != same] + [row]
        order = list(ROWS)
        rows.sort(key=lambda own: (order.index(own["row"]), own["seed"]))
        partial = result.with_suffix(".partial")
        partial.write_text(json.dumps({"benchmark": "mtd_methods", "rows": rows}, indent=1) + "\n")
        partial.replace(result)
    result.with_suffix(".lock").unlink(missing_ok=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rows", nargs="+", choices=list(ROWS), default=list(ROWS))
    parser.add_argument("--seeds", nargs="+", type=int, default=list(SEEDS))
    parser.add_argument("--engines", type=Path, required=True, help="folder for what is trained")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--again", action="store_true", help="measure rows that are there")
    parser.add_argument("--out", type=Path, default=RESULT)
    options = parser.parse_args()
    options.engines.mkdir(parents=True, exist_ok=True)
    ops.set_num_threads(options.threads)
    if "torch" in sys.modules or any(row != "patchcore" for row in options.rows):
        import torch

        torch.set_num_threads(options.threads)
    place = Place(options.engines, options.threads)
    for seed in options.seeds:
        for row in options.rows:
            there = any((own["row"], own["seed"]) == (row, seed) for own in known(options.out))
            if there and not options.again:
                continue
            done = measure(place, row, seed)
            add(options.out, done)
            figures = ", ".join(f"{done[name]:.4f}" for name in FIGURES)
            print(f"{row} seed {seed}: {figures}, {done['train_seconds']:.0f} s", flush=True)


FIGURES = ("image_auroc", "pixel_auroc", "aupro")

if __name__ == "__main__":
    main()
