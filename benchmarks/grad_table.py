"""Write the tables of docs/methods/grad.md: python benchmarks/grad_table.py."""

from __future__ import annotations

import json
import re
import statistics
from pathlib import Path
from typing import Any

from mtd_grad import FIGURES, LEVELS, known, result_file
from report import RESULTS

PAGE = Path(__file__).resolve().parents[1] / "docs" / "methods" / "grad.md"
NAMES = {
    "level-34": "GRAD, level 34",
    "level-68": "GRAD, level 68",
    "level-136": "GRAD, level 136",
    "fused-68-136": "GRAD, levels 68 and 136, maximum",
    "fused": "GRAD, all levels, maximum",
    "fused-mean": "GRAD, all levels, mean",
    "patchcore-edge18": "PatchCore, edge18",
    "patchcore-resnet18": "PatchCore, ResNet-18",
}


def box() -> str:
    return _source(known(result_file("box"))) + _rows(known(result_file("box")))


def mtd() -> str:
    """GRAD's rows, then PatchCore's from the file of all methods."""
    rows = known(result_file("mtd"))
    others = known(RESULTS / "mtd_methods.json")
    bank = [row for row in others if row["row"] == "patchcore"]
    text = _source(rows) + _rows(rows)
    if bank:
        means = [statistics.fmean(row[name] for row in bank) for name in FIGURES]
        cells = " | ".join(f"{value:.4f}" for value in means)
        text += f"| PatchCore, ResNet-18, mean of {len(bank)} seeds | {cells} |\n"
    return text


def ablation() -> str:
    """Table 4: image AUROC."""
    rows = {row["row"]: row for row in known(result_file("mtd"))}
    names = {
        "baseline": "baseline: neither regularisation nor weights",
        "regularised": "+ regularisation, eqs. 5 and 6",
        "without-tail": "+ noisy reweighting, eq. 1",
        "level": "+ long-tail reweighting, eq. 2",
    }
    heads = " | ".join(f"level {level}" for level in LEVELS)
    lines = [f"| image AUROC | {heads} |", "|---|--:|--:|--:|"]
    for row, name in names.items():
        own = [rows.get(f"{row}-{level}") for level in LEVELS]
        cells = [f"{one['image_auroc']:.4f}" if one else "not run" for one in own]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def validation() -> str:
    rows = json.loads((RESULTS / "grad_validation.json").read_text())["rows"]
    lines = ["| level | variant | image AUROC | pixel AUROC | AUPRO |", "|--:|---|--:|--:|--:|"]
    for row in sorted(rows, key=lambda own: (own["level"], own["variant"] != "base")):
        figures = " | ".join(f"{row[name]:.4f}" for name in FIGURES)
        lines.append(f"| {row['level']} | {row['variant'].replace('_', ' ')} | {figures} |")
    first = rows[0]
    return (
        f"{first['pictures']} held-out good pictures against themselves with {first['defects']} "
        f"synthetic defects, {first['steps']} steps a detector, seed {first['seed']}. `python "
        "benchmarks/grad_validation.py`.\n\n" + "\n".join(lines) + "\n"
    )


def _rows(rows: list[dict[str, Any]]) -> str:
    lines = ["| method | image AUROC | pixel AUROC | AUPRO |", "|---|--:|--:|--:|"]
    for row in (own for own in rows if own["row"] in NAMES):
        figures = " | ".join(f"{row[name]:.4f}" for name in FIGURES)
        lines.append(f"| {NAMES[row['row']]} | {figures} |")
    return "\n".join(lines) + "\n"


def _source(rows: list[dict[str, Any]]) -> str:
    own = next(row for row in rows if row["row"].startswith(("level", "fused")))
    settings, steps = own["settings"], max(
        value for name, value in own["settings"].items() if name.startswith("steps_")
    )  # fmt: skip
    commits = ", ".join(sorted({row["commit"] for row in rows}))
    return (
        f"{own['pictures']} pictures to train on, all of test, last step, seed {own['seed']}: "
        f"PatchDiffs of {settings['diffusion_steps']:,} steps, {settings['samples']} windows each, "
        f"detectors of {steps:,} steps with {settings['patches']} positive patches, "
        f"{settings['precision']}, {own['machine']['threads']} thread of a CPU. `"
        f"{own['command'].split(' --rows')[0]}`, commits {commits}.\n\n"
    )


def main() -> None:
    text = PAGE.read_text()
    for name, make in (
        ("box", box),
        ("mtd", mtd),
        ("ablation", ablation),
        ("validation", validation),
    ):
        pattern = re.compile(rf"<!-- table: grad {name} -->\n.*?<!-- end -->", re.DOTALL)
        found = pattern.search(text)
        if found is None:
            raise SystemExit(f"{PAGE} has no place for the table grad {name}.")
        start, end = found.span()
        text = f"{text[:start]}<!-- table: grad {name} -->\n{make()}<!-- end -->{text[end:]}"
    PAGE.write_text(text)


if __name__ == "__main__":
    main()
