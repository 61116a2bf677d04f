"""What a box's detector has learned: logits of normal, defective and generated patches.

    python benchmarks/grad_evidence.py --folder DIR --levels 68 136

Reads the checkpoints that ``mtd_grad.py --data box --folder DIR`` left. The mean logit over all
patches, and the median over pictures of the largest, for training pictures, the test's good and
defective ones, and the windows of each PatchDiff, generated as a whole or in a region. Beside them,
the learning curves on MTD.
"""

from __future__ import annotations

import argparse
import csv
import json
from pathlib import Path
from typing import Any

import torch
from mtd_grad import SETTINGS
from report import RESULTS, commit, machine

from pyad_edge.engine_manifest import Preprocessing
from pyad_edge.export.data import load_dataset
from pyad_edge.export.methods.grad.detector import PRESETS, Detector, level_input
from pyad_edge.export.methods.grad.windows import cut
from pyad_edge.export.training.checkpoint import load_checkpoint
from pyad_edge.export.training.pictures import PictureSource

RESULT = RESULTS / "grad_evidence.json"
TRAINED = 30  # pictures
PREPROCESSING = Preprocessing(
    resize=(256, 256), crop=None, mean=(0.5,) * 3, std=(0.5,) * 3, color_order="rgb"
)


def detector_of(file: Path) -> tuple[Detector, int]:
    """A level's detector and the steps it was trained for."""
    found = load_checkpoint(file, expected={})
    detector = Detector(PRESETS[SETTINGS["box"].get("preset", "accurate")])
    start = "state.detector."
    own = {name.removeprefix(start): t for name, t in found.tensors.items() if start in name}
    detector.load_state_dict(own)
    return detector.eval(), int(found.state["step"])


def figures(maps: torch.Tensor) -> dict[str, float]:
    return {
        "mean": float(maps.mean()),
        "largest": float(maps.flatten(1).amax(1).median()),
        "pictures": len(maps),
    }


def curve(file: Path) -> list[dict[str, float]]:
    """Means over tenths of a training: loss of the classes, and how many negatives count."""
    with file.open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    tenth = max(1, len(rows) // 10)
    return [
        {
            "step": int(rows[start + tenth - 1]["step"]),
            **{
                name: sum(float(row[name]) for row in rows[start : start + tenth]) / tenth
                for name in ("classes", "effective")
            },
        }
        for start in range(0, tenth * 10, tenth)
    ]


def measure(folder: Path, level: int) -> dict[str, Any]:
    work = folder / "box-seed0"
    detector, steps = detector_of(work / f"detector-{level}.safetensors")
    data = load_dataset(folder / "box")
    groups = {"train": list(data.train)[:TRAINED]}
    for sample in data.test:
        groups.setdefault(sample.defect, []).append(sample.path)
    found = {}
    for name, paths in groups.items():
        source = PictureSource(paths, PREPROCESSING)
        with torch.no_grad():
            inputs = level_input(torch.from_numpy(source.batch(range(len(source)))), level)
            found[name] = figures(detector(inputs))
    where, inside = inputs[0, 3:], SETTINGS["box"].get("inside", 0.0)
    for file in sorted(work.glob(f"samples-{level}-*.safetensors")):
        windows = load_checkpoint(file, expected={}).tensors
        places = windows["places"].numpy()
        side = windows["windows"].shape[-1]
        own = cut(where, range(len(places)), places, (side, side))
        colours = windows["windows"].float() / 127.5 - 1
        with torch.no_grad():
            maps = detector(torch.cat((colours, own), dim=1))
        name, whole = (
            file.stem.replace("samples", "generated"),
            len(maps) - round(inside * len(maps)),
        )
        found[name] = figures(maps[:whole])
        if inside:
            found[f"{name}-regions"] = figures(maps[whole:])
    return {
        "level": level,
        "steps": steps,
        "logits": found,
        "curve": curve(work / f"detector-{level}.csv"),
        "commit": commit(),
        "machine": machine(torch.get_num_threads()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--levels", nargs="+", type=int, default=[68, 136])
    parser.add_argument("--out", type=Path, default=RESULT)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = [measure(options.folder, level) for level in options.levels]
    curves = {
        f"{folder.name} {file.stem}": curve(file)
        for folder in sorted(options.folder.glob("mtd-seed0*"))
        for file in sorted(folder.glob("detector-*.csv"))
    }
    if not curves and options.out.exists():  # of an earlier folder, which had MTD's
        curves = json.loads(options.out.read_text())["mtd_curves"]
    data = {"benchmark": "grad_evidence", "rows": rows, "mtd_curves": curves}
    options.out.write_text(json.dumps(data, indent=1) + "\n")
    for row in rows:
        print(row["level"], {name: round(own["mean"], 2) for name, own in row["logits"].items()})


if __name__ == "__main__":
    main()
