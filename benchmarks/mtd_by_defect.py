"""Which defects of MTD an engine tells from which good pictures.

    python benchmarks/mtd_by_defect.py --engines DIR    # of mtd_methods.py, seed 0

Defects against the good pictures of test, and against the held-out good ones of train whose scores
the engine holds; and those two against each other: 0.5 where new tiles look like old ones. Writes
benchmarks/results/mtd_by_defect.json.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path

import numpy as np
from mtd_methods import Place, made
from report import RESULTS, commit, machine, shared

from pyad_edge import Runtime, ops
from pyad_edge.export.data import load_dataset
from pyad_edge.export.metrics import image_auroc
from pyad_edge.frame_files import read_frame

ROWS = ("patchcore-average", "recontrast")


def auroc(good: list[float], bad: list[float]) -> float:
    return image_auroc([False] * len(good) + [True] * len(bad), [*good, *bad])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--engines", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    ops.set_num_threads(options.threads)
    rows = []
    for name in ROWS:
        runtime = Runtime(
            made(Place(options.engines, options.threads), name, 0), threads=options.threads
        )
        held = [float(s) for s in np.asarray(runtime.engine.tensors["calibration/scores"])]
        scores: dict[str, list[float]] = defaultdict(list)
        for sample in load_dataset(shared("data", "mtd"), require_test=True).test:
            scores[sample.defect].append(runtime.infer(read_frame(sample.path, None)).score)
        good = scores.pop("good")
        rows.append(
            {
                "row": name,
                "seed": 0,
                "good_of_test_against_held_out": auroc(held, good),
                "against_good_of_test": {k: auroc(good, bad) for k, bad in scores.items()},
                "against_held_out": {k: auroc(held, bad) for k, bad in scores.items()},
            }
        )
        print(rows[-1], flush=True)
    content = {
        "benchmark": "mtd_by_defect",
        "rows": rows,
        "commit": commit(),
        "machine": machine(options.threads),
    }
    (RESULTS / "mtd_by_defect.json").write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
