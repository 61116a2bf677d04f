"""How FOD's branches went in the trainings of mtd_fod.py, and what their losses would prefer.

    python benchmarks/fod_curves.py --folder DIR

Means of 25 steps of every training's log, and the intra-branch's gain (eq. 8 as the second phase of
eq. 13 maximises it) for two correlations of a middle patch of 32 x 32: even over all patches, and
all on one far away. Writes benchmarks/results/fod_curves.json.
"""

from __future__ import annotations

import argparse
import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
from report import RESULTS, commit

from pyad_edge.reference.correlation_divergence import EPS, target_correlation

RESULT = RESULTS / "fod_curves.json"
SPAN, SIDE = 25, 32


def curve(file: Path) -> dict[str, list[float]]:
    with file.open() as lines:
        rows = list(csv.DictReader(lines))
    names = [name for name in rows[0] if name != "step"]
    return {
        name: [
            round(float(np.mean([float(r[name]) for r in rows[i : i + SPAN]])), 3)
            for i in range(0, len(rows), SPAN)
        ]
        for name in names
    }


def gains(sigma: float) -> list[dict[str, Any]]:
    """λ1 Div + λ2 Ent of both correlations, at the paper's weights and at λ2 = 1."""
    L, middle = SIDE * SIDE, SIDE * SIDE // 2 + SIDE // 2
    spread = np.full((1, 1, L), sigma, np.float32)
    target = target_correlation(spread, spread, (SIDE, SIDE))[0, 0, middle]
    far = np.zeros(L)
    far[0] = 1.0
    found = []
    for name, s in (("even", np.full(L, 1 / L)), ("one far patch", far)):
        divergence = float(((s - target) * np.log((s + EPS) / (target + EPS))).sum())
        entropy = float(-(s[s > 0] * np.log(s[s > 0])).sum())
        found.append(
            {
                "correlation": name,
                "sigma": sigma,
                "divergence": round(divergence, 2),
                "entropy": round(entropy, 2),
                "gain_0.5_0.5": round(0.5 * divergence + 0.5 * entropy, 2),
                "gain_0.5_1": round(0.5 * divergence + entropy, 2),
            }
        )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--folder", type=Path, required=True, help="of mtd_fod.py")
    parser.add_argument("--out", type=Path, default=RESULT)
    options = parser.parse_args()
    content = {
        "benchmark": "fod_curves",
        "commit": commit(),
        "span": SPAN,
        "curves": {file.stem: curve(file) for file in sorted(options.folder.glob("*.csv"))},
        "gains": [row for sigma in (0.3, 1.0, 2.0) for row in gains(sigma)],
    }
    options.out.write_text(json.dumps(content, indent=1) + "\n")
    for name, found in content["curves"].items():
        print(name, found)
    for row in content["gains"]:
        print(row)


if __name__ == "__main__":
    main()
