"""Engines of the sorting box on test pictures of boxes of other seeds.

    python benchmarks/grad_seeds.py --folder DIR --rows fused fused-68-136 --seeds 7 11 12

Reads the engines that ``mtd_grad.py --data box --folder DIR`` wrote.
Settings were decided on seed 7. Seeds that nobody looked at before say what these decisions, and
the choice of when to stop, were worth.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from mtd_grad import BOX, ROWS
from report import RESULTS, commit, machine

from pyad_edge import Runtime
from pyad_edge.export.demo.box import write_box_dataset
from pyad_edge.export.evaluate import evaluate

RESULT = RESULTS / "grad_box_seeds.json"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=["fused", "fused-68-136"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[7, 11, 12])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=RESULT)
    options = parser.parse_args()
    runtimes = {
        row: Runtime(options.folder / f"box-{row}-seed0.pyad", threads=options.threads)
        for row in options.rows
    }
    rows: list[dict[str, Any]] = []
    for seed in options.seeds:
        with tempfile.TemporaryDirectory() as name:
            root = write_box_dataset(Path(name) / "box", seed=seed, **BOX | {"train": 2})
            for row, runtime in runtimes.items():
                report = evaluate(runtime, root)
                bad = [one for one in report.rows if one.name != "good"]
                rows.append(
                    {
                        "row": row,
                        "seed": seed,
                        "image_auroc": report.image_auroc,
                        "by_defect": {one.name: one.image_auroc for one in bad},
                        "pictures": {one.name: one.pictures for one in report.rows},
                    }
                )
                print(rows[-1], flush=True)
    data = {
        "benchmark": "grad_box_seeds",
        "command": f"python benchmarks/grad_seeds.py --seeds {' '.join(map(str, options.seeds))}",
        "commit": commit(),
        "machine": machine(options.threads),
        "rows": rows,
    }
    options.out.write_text(json.dumps(data, indent=1) + "\n")


if __name__ == "__main__":
    main()
