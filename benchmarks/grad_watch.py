"""Image AUROC on a box of another seed while a detector of the sorting box is trained.

    python benchmarks/grad_watch.py --folder DIR --level 136 --every 1000

Reads the checkpoints that ``mtd_grad.py --data box --folder DIR`` writes, until the training's last
step. ``--engine FILE`` adds what the finished engine gives on that box. Decisions about settings
are taken on these figures, never on the box that is reported.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from grad_evidence import PREPROCESSING, detector_of
from mtd_grad import BOX, SETTINGS
from report import RESULTS, commit

from pyad_edge import Runtime
from pyad_edge.export.data import load_dataset
from pyad_edge.export.demo.box import write_box_dataset
from pyad_edge.export.evaluate import evaluate
from pyad_edge.export.methods.grad.detector import level_input
from pyad_edge.export.metrics import image_auroc
from pyad_edge.export.training.pictures import PictureSource

RESULT = RESULTS / "grad_watch.json"
SEED = 7
AT_ONCE = 20


def inputs(root: Path, level: int) -> dict[str, torch.Tensor]:
    """The test pictures of a box as a level's detector sees them, by kind."""
    paths: dict[str, list[Path]] = {}
    for sample in load_dataset(root, least=2).test:
        paths.setdefault(sample.defect, []).append(sample.path)
    found = {}
    for kind, own in paths.items():
        source = PictureSource(own, PREPROCESSING)
        starts = range(0, len(own), AT_ONCE)
        batches = [source.batch(range(n, min(n + AT_ONCE, len(own)))) for n in starts]
        found[kind] = torch.cat([level_input(torch.from_numpy(one), level) for one in batches])
    return found


def separations(
    detector: torch.nn.Module, pictures: Mapping[str, torch.Tensor]
) -> dict[str, float]:
    """Image AUROC of a level alone, of each kind of defect and of all."""
    with torch.no_grad():
        largest = {
            kind: torch.cat([detector(part).flatten(1).amax(1) for part in own.split(AT_ONCE)])
            for kind, own in pictures.items()
        }
    good = largest.pop("good")
    groups = {**largest, "all": torch.cat(list(largest.values()))}
    return {
        kind: image_auroc([0] * len(good) + [1] * len(bad), torch.cat((good, bad)).numpy())
        for kind, bad in groups.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--level", type=int, default=136)
    parser.add_argument("--every", type=int, default=1000, help="steps")
    parser.add_argument("--steps", type=int, default=SETTINGS["box"]["detector_steps"])
    parser.add_argument("--engine", type=Path, help="evaluate it instead, and add that")
    parser.add_argument("--resume", action="store_true", help="keep the rows that are there")
    parser.add_argument("--out", type=Path, default=RESULT)
    options = parser.parse_args()
    torch.set_num_threads(1)
    root = options.folder / "validation"
    if not root.exists():
        write_box_dataset(root, seed=SEED, **BOX | {"train": 2})
    if options.engine is not None:
        report = evaluate(Runtime(options.engine, threads=1), root)
        found = json.loads(options.out.read_text())
        found["engine"] = {one.name: one.image_auroc for one in report.rows if one.name != "good"}
        found["engine"]["all"] = report.image_auroc
        options.out.write_text(json.dumps(found, indent=1) + "\n")
        print(found["engine"])
        return
    pictures = inputs(root, options.level)
    checkpoint = options.folder / "box-seed0" / f"detector-{options.level}.safetensors"
    rows: list[dict[str, Any]] = []
    if options.resume and options.out.exists():
        rows = json.loads(options.out.read_text())["rows"]
    while not rows or rows[-1]["step"] < options.steps:
        if checkpoint.exists():
            detector, step = detector_of(checkpoint)
            if step >= min(options.steps, (rows[-1]["step"] if rows else 0) + options.every):
                rows.append({"step": step, "image_auroc": separations(detector, pictures)})
                print(step, rows[-1]["image_auroc"], flush=True)
                data = {
                    "benchmark": "grad_watch",
                    "level": options.level,
                    "seed": SEED,
                    "pictures": {kind: len(own) for kind, own in pictures.items()},
                    "command": f"python benchmarks/grad_watch.py --level {options.level}",
                    "commit": commit(),
                    "rows": rows,
                }
                options.out.write_text(json.dumps(data, indent=1) + "\n")
                continue
        time.sleep(5)


if __name__ == "__main__":
    main()
