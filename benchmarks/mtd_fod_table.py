"""Write FOD's tables into docs/methods/fod.md: python benchmarks/mtd_fod_table.py."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mtd_methods
from mtd_fod import PATCHCORE, RESULT, ROWS, known
from mtd_methods_table import spread

PAGE = Path(__file__).resolve().parents[1] / "docs" / "methods" / "fod.md"
BEGIN, END = "<!-- table: mtd fod -->", "<!-- end -->"
FIGURES = ("image_auroc", "pixel_auroc", "aupro")
NAMES = {
    "resnet18": "FOD, ResNet-18",
    "tf_efficientnetv2_b0": "FOD, EfficientNetV2-B0",
    "resnet18, patch": "ResNet-18, patch-wise alone",
    "resnet18, intra": "ResNet-18, intra alone",
    "resnet18, inter": "ResNet-18, inter alone",
    "resnet18, no skip": "ResNet-18, `--skip code`",
    PATCHCORE: "PatchCore, EfficientNetV2-B0",
}


def tables(rows: Sequence[dict[str, Any]]) -> str:
    """What was measured: figures of every row and score, and of every kind of defect."""
    if not rows:
        return "Not run yet."
    machine = rows[0]["machine"]
    commits = ", ".join(sorted({row["commit"] for row in rows}))
    lines = [
        "Magnetic Tile Defects, whole pictures at 256 × 256, all of test, last step of the "
        f"training; mean ± standard deviation over seeds. {machine['processor']}, "
        f"{machine['threads']} thread; `python benchmarks/mtd_fod.py`, commits {commits}.",
        "",
        "| method | score | seeds | image AUROC | pixel AUROC | AUPRO | training |",
        "|---|---|--:|--:|--:|--:|---|",
        _peer(),
    ]
    kinds = [
        "| method | score | " + " | ".join(DEFECTS) + " |",
        "|---|---|" + "--:|" * len(DEFECTS),
    ]
    for name in (PATCHCORE, *ROWS):
        own = [row for row in rows if row["row"] == name]
        for score in own[0]["scores"] if own else ():
            found = [row["scores"][score] for row in own]
            label = f"{NAMES[name]} | {score.replace('*', chr(92) + '*')}"
            cells = " | ".join(spread([f[figure] for f in found]) for figure in FIGURES)
            steps = f"{own[0]['steps']} steps" if "steps" in own[0] else ""
            lines.append(f"| {label} | {len(own)} | {cells} | {steps} |")
            cells = " | ".join(
                f"{sum(f['by_defect'][kind] for f in found) / len(found):.3f}" for kind in DEFECTS
            )
            kinds.append(f"| {label} | {cells} |")
    return "\n".join([*lines, "", "Image AUROC by kind of defect, mean over seeds:", "", *kinds])


DEFECTS = ("blowhole", "break", "crack", "fray", "uneven")


def _peer() -> str:
    """PatchCore with ResNet-18, from the benchmark of all methods."""
    own = [row for row in mtd_methods.known(mtd_methods.RESULT) if row["row"] == "patchcore"]
    cells = " | ".join(spread([row[figure] for row in own]) for figure in FIGURES)
    return f"| PatchCore, ResNet-18 | distance | {len(own)} | {cells} | |"


def with_tables(page: str, rows: Sequence[dict[str, Any]]) -> str:
    """The page with today's tables."""
    before, rest = page.split(BEGIN, 1)
    _, after = rest.split(END, 1)
    return f"{before}{BEGIN}\n{tables(rows)}\n{END}{after}"


def main() -> None:
    PAGE.write_text(with_tables(PAGE.read_text(), known(RESULT)))


if __name__ == "__main__":
    main()
