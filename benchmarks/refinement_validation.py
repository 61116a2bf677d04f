"""What a refinement network's training should be like: chosen without a test picture.

    python benchmarks/refinement_validation.py --engines DIR

The engine is ReConPatch with 512 dimensions on Magnetic Tile Defects, seed 0, as mtd_methods.py
trains it. Its held-out good pictures are divided as ``train refinement`` divides them: the network
learns on one part with synthetic defects, and is judged on the other part with synthetic defects of
other seeds, structural ones and textures that it never saw. Writes
benchmarks/results/refinement_validation.json.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mtd_methods import REFINED, Place, made
from report import RESULTS, commit, load, machine, shared

from pyad_edge import ops
from pyad_edge.engine import read_engine
from pyad_edge.export.methods.refinement.engine import outside_the_fit
from pyad_edge.export.methods.refinement.pictures import MapSet, collect_maps
from pyad_edge.export.methods.refinement.settings import make_settings
from pyad_edge.export.methods.refinement.train import Trained, batch_of, train_network
from pyad_edge.export.metrics import aupro, image_auroc, pixel_auroc
from pyad_edge.export.synthetic_textures import Textures
from pyad_edge.export.validation import split_validation
from pyad_edge.opening import build_pipeline

RESULT = RESULTS / "refinement_validation.json"
VARIANTS: dict[str, dict[str, Any]] = {
    "rate 0.01 (the paper's)": {"learning_rate": 1e-2},
    "rate 0.03": {"learning_rate": 3e-2},
    "rate 0.1": {"learning_rate": 1e-1},
    "rate 0.3": {"learning_rate": 3e-1},
    "rate 0.1, with the picture": {"learning_rate": 1e-1, "picture": True},
    "rate 0.1, stride 2": {"learning_rate": 1e-1, "stride": 2},
    "rate 0.1, 10 epochs": {"learning_rate": 1e-1, "epochs": 10},
}


def judge(trained: Trained | None, maps: MapSet) -> dict[str, float]:
    """Image AUROC (maximum of the map), pixel AUROC and AUPRO; None: the engine's own maps."""
    refined = maps.maps
    if trained is not None:
        refined = np.empty_like(maps.maps)
        for n in range(len(refined)):
            x, _ = batch_of(maps, np.array([n]), offset=trained.offset, scale=trained.scale)
            with torch.no_grad():
                refined[n] = trained.network.logits(torch.from_numpy(x)).numpy()[0, 0]
    return {
        "image_auroc": image_auroc(~maps.good, refined.max((1, 2))),
        "pixel_auroc": pixel_auroc(maps.masks, refined),
        "aupro": aupro(maps.masks, refined),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--engines", type=Path, required=True, help="folder for what is trained")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=RESULT)
    options = parser.parse_args()
    options.engines.mkdir(parents=True, exist_ok=True)
    ops.set_num_threads(options.threads)
    torch.set_num_threads(options.threads)
    engine = read_engine(made(Place(options.engines, options.threads), REFINED, 0))
    pipeline = build_pipeline(engine, threads=options.threads)
    base = make_settings(picture=True)
    good = outside_the_fit(engine, shared("data", "mtd"), None)
    learned, kept = split_validation(good, fraction=base.calibration, seed=base.seed)
    textures = Textures(shared("data", "natural"))
    taught = collect_maps(pipeline, learned, base)
    others = {
        kind: collect_maps(
            pipeline,
            kept,
            make_settings(picture=True, kinds=(kind,), defects=1, seed=1),
            textures=textures,
        )
        for kind in ("structural", "texture")
    }
    rows: list[dict[str, Any]] = []

    def add(name: str, trained: Trained | None, seconds: float, picture: bool) -> None:
        row: dict[str, Any] = {"variant": name, "seconds": seconds}
        if trained is not None:
            row |= {
                "first_loss": float(np.mean(trained.losses[:20])),
                "last_loss": float(np.mean(trained.losses[-20:])),
            }
        for kind, maps in others.items():
            row[kind] = judge(trained, maps if picture else replace(maps, pictures=None))
        rows.append(row)
        facts = {"commit": commit(), "load": load(), "machine": machine(options.threads)}
        whole = {"benchmark": "refinement_validation", **facts, "rows": rows}
        options.out.write_text(json.dumps(whole, indent=1) + "\n")
        print(row, flush=True)

    add("not refined", None, 0.0, False)
    for name, values in VARIANTS.items():
        settings = make_settings(**values)
        start = time.perf_counter()
        data = taught if settings.picture else replace(taught, pictures=None)
        add(name, train_network(data, settings), time.perf_counter() - start, settings.picture)


if __name__ == "__main__":
    main()
