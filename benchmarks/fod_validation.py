"""How FOD is to be trained in few steps: chosen without a test picture.

    python benchmarks/fod_validation.py [--variants NAME ...]

ResNet-18 on good training pictures of Magnetic Tile Defects at 256 px; every fifth run of
neighbours is held out, and some of these pictures are scored as they are and with a synthetic
defect. Each variant takes the same number of steps, of one picture each. Rows are added to
benchmarks/results/fod_validation.json as they are done; a row that is there is skipped.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mtd_patchcore import resnet18_weights
from numpy.typing import NDArray
from report import RESULTS, commit, load, machine, shared

from pyad_edge import ops
from pyad_edge.engine_manifest import Preprocessing
from pyad_edge.export.data import load_dataset
from pyad_edge.export.duplicates import contents_of, distinct
from pyad_edge.export.methods.fod.backbone import build_backbone
from pyad_edge.export.methods.fod.fit import fit
from pyad_edge.export.methods.fod.model import Fod
from pyad_edge.export.methods.fod.scoring import combine, level_scores
from pyad_edge.export.methods.fod.settings import Score, make_settings
from pyad_edge.export.metrics import aupro, image_auroc, pixel_auroc
from pyad_edge.export.synthetic import SyntheticSettings, add_defect
from pyad_edge.export.synthetic_textures import Textures
from pyad_edge.export.training.pictures import PictureSource
from pyad_edge.export.validation import mask_at_map, split_validation
from pyad_edge.images import read_image
from pyad_edge.preprocessing import to_batch

RESULT = RESULTS / "fod_validation.json"
SIZE = (256, 256)
SCORES: tuple[Score, ...] = ("rec", "div", "rec*div")
FAST: dict[str, Any] = {"precision": "bf16", "rows": 0.25, "schedule": "cosine"}
VARIANTS: dict[str, dict[str, Any]] = {
    "rate 1e-4 (the paper's)": {},
    "rate 3e-4": {"rate": 3e-4},
    "rate 1e-3": {"rate": 1e-3},
    "rate 3e-4, skip as in the code": {"rate": 3e-4, "skip": "code"},
    "rate 1e-3, skip as in the code": {"rate": 1e-3, "skip": "code"},
    "rate 3e-4, patch-wise": {"rate": 3e-4, "views": "patch", "score": "rec"},
}


def examples(
    held: list[Path], textures: Textures, preprocessing: Preprocessing
) -> list[tuple[NDArray[np.float32], NDArray[np.bool_]]]:
    """Inputs of the network with masks: each picture as it is, and with a defect of each kind."""
    made = []
    for index, path in enumerate(held):
        frame = read_image(path)
        made.append((frame, np.zeros(frame.shape[:2], bool)))
        for kind in ("structural", "texture"):
            rng = np.random.default_rng([7, index, len(made)])
            settings = SyntheticSettings(kinds=(kind,))
            defect = add_defect(frame, rng, settings=settings, textures=textures)
            made.append((defect.picture, defect.mask))
    return [
        (to_batch([frame], preprocessing), mask_at_map(mask, preprocessing)) for frame, mask in made
    ]


def judge(model: Fod, given: list[tuple[Any, Any]]) -> dict[str, dict[str, float]]:
    """Figures of every score that the model has."""
    scores = SCORES if model.levels[0].reference is not None else SCORES[:1]
    maps: dict[str, list[Any]] = {score: [] for score in scores}
    grids = [level.grid for level in model.levels]
    for picture, _ in given:
        with torch.no_grad():
            features, outputs = model(torch.from_numpy(picture))
        for score in scores:
            own = [level_scores(f, o, score) for f, o in zip(features, outputs, strict=True)]
            maps[score].append(combine(own, grids, size=SIZE, sigma=4.0)[0][0])
    masks = [mask for _, mask in given]
    labels = np.array([mask.any() for mask in masks])
    return {
        score: {
            "image_auroc": image_auroc(labels, [float(m.max()) for m in found]),
            "pixel_auroc": pixel_auroc(masks, found),
            "aupro": aupro(masks, found),
        }
        for score, found in maps.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--variants", nargs="+", choices=list(VARIANTS), default=list(VARIANTS))
    parser.add_argument("--steps", type=int, default=250)
    parser.add_argument("--held", type=int, default=24, help="held-out pictures that are scored")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=RESULT)
    options = parser.parse_args()
    ops.set_num_threads(options.threads)
    torch.set_num_threads(options.threads)
    good = load_dataset(shared("data", "mtd")).train
    learned, held = split_validation(distinct(good, contents_of(good)), fraction=0.2, seed=0)
    few = [held[i] for i in np.linspace(0, len(held) - 1, options.held).astype(int)]
    rows = json.loads(options.out.read_text())["rows"] if options.out.exists() else []
    for name in options.variants:
        if any((r["variant"], r["steps"]) == (name, options.steps) for r in rows):
            continue
        values = FAST | {"epochs": options.steps / len(learned)} | VARIANTS[name]
        settings = make_settings(**values)
        backbone = build_backbone("resnet18", weights=resnet18_weights(), levels=settings.levels)
        preprocessing = Preprocessing(
            resize=SIZE, crop=None, mean=backbone.mean, std=backbone.std, color_order="rgb"
        )
        start = time.perf_counter()
        source = PictureSource(learned, preprocessing)
        model, loop = fit(backbone, source, settings, identity={}, device=torch.device("cpu"))
        row: dict[str, Any] = {
            "variant": name,
            "steps": loop.steps,
            "settings": values,
            "seconds": time.perf_counter() - start,
            "last_loss": float(np.mean(loop.losses[-20:])),
            "pictures": len(few),
            "defects": 2 * len(few),
        }
        given = examples(few, Textures(shared("data", "natural")), preprocessing)
        row |= judge(model, given)
        rows.append(row)
        facts = {"commit": commit(), "load": load(), "machine": machine(options.threads)}
        whole = {"benchmark": "fod_validation", **facts, "rows": rows}
        options.out.write_text(json.dumps(whole, indent=1) + "\n")
        print(row, flush=True)


if __name__ == "__main__":
    main()
