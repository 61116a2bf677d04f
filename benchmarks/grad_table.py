"""Write the tables of docs/methods/grad.md: python benchmarks/grad_table.py."""

from __future__ import annotations

import json
import re
import statistics
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mtd_grad import ABLATION_STEPS, FIGURES, LEVELS, known, result_file
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
    rows = known(result_file("box"))
    kinds = list(rows[0]["by_defect"])
    count = rows[0]["test_pictures"]
    heads = "".join(f" {kind} |" for kind in kinds)
    lines = [
        f"Image AUROC by kind, {count[kinds[0]]} pictures each against {count['good']} good ones:",
        "",
        f"| method |{heads}",
        f"|---|{'--:|' * len(kinds)}",
    ]
    for row in (own for own in rows if own["row"] in NAMES):
        figures = " | ".join(f"{row['by_defect'][kind]:.4f}" for kind in kinds)
        lines.append(f"| {NAMES[row['row']]} | {figures} |")
    return _source(rows) + _rows(rows) + "\n" + "\n".join(lines) + "\n"


def watch() -> str:
    """Image AUROC of a level on the box of another seed, step by step."""
    found = json.loads((RESULTS / "grad_watch.json").read_text())
    kinds = list(found["rows"][0]["image_auroc"])
    lines = [
        f"Level {found['level']}, image AUROC on the test pictures of a box of seed "
        f"{found['seed']}. "
        f"`{found['command']}`.",
        "",
        f"| step |{''.join(f' {kind} |' for kind in kinds)}",
        f"|--:|{'--:|' * len(kinds)}",
    ]
    for row in found["rows"]:
        figures = " | ".join(f"{row['image_auroc'][kind]:.4f}" for kind in kinds)
        lines.append(f"| {row['step']:,} | {figures} |")
    if "engine" in found:
        figures = " | ".join(f"{found['engine'][kind]:.4f}" for kind in kinds)
        lines.append(f"| the engine, which takes off what is usual at a place | {figures} |")
    return "\n".join(lines) + "\n"


def seeds() -> str:
    """The same engines on boxes of other seeds."""
    found = json.loads((RESULTS / "grad_box_seeds.json").read_text())
    kinds = list(found["rows"][0]["by_defect"])
    lines = [
        "Image AUROC on the test pictures of other seeds. "
        f"`{found['command']}`, commit {found['commit']}.",
        "",
        f"| seed | engine |{''.join(f' {kind} |' for kind in kinds)} all |",
        f"|--:|---|{'--:|' * len(kinds)}--:|",
    ]
    for row in found["rows"]:
        figures = " | ".join(f"{row['by_defect'][kind]:.4f}" for kind in kinds)
        name = NAMES[row["row"]]
        lines.append(f"| {row['seed']} | {name} | {figures} | {row['image_auroc']:.4f} |")
    return "\n".join(lines) + "\n"


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
        "complete": "+ long-tail reweighting, eq. 2",
    }
    heads = " | ".join(f"level {level}" for level in LEVELS)
    steps = f"The same windows, {ABLATION_STEPS:,} steps a detector."
    lines = [steps, "", f"| image AUROC | {heads} |", "|---|--:|--:|--:|"]
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
    own = max(
        (row for row in rows if row["row"].startswith(("level", "fused"))),
        key=lambda row: _work(row),
    )
    settings = own["settings"]
    commits = ", ".join(sorted({row["commit"] for row in rows}))
    inside = (
        f", {settings['inside']:.0%} of them normal but for a region"
        if settings.get("inside")
        else ""
    )
    shorter = [
        f"level {level}: {settings[f'diffusion_steps_{level}']:,} steps, "
        f"{settings[f'samples_{level}']} windows, {settings[f'steps_{level}']:,} steps"
        for level in LEVELS
        if f"diffusion_steps_{level}" in settings
    ]
    return (
        f"{own['pictures']} pictures to train on, all of test, last step, seed {own['seed']}: "
        f"PatchDiffs of {settings['diffusion_steps']:,} steps, {settings['samples']} windows each"
        f"{inside}, detectors of {_steps(settings):,} steps with {settings['patches']} positive "
        f"patches{' (' + '; '.join(shorter) + ')' if shorter else ''}, {settings['precision']}, "
        f"{own['machine']['threads']} thread of a CPU. "
        f"`{own['command'].split(' --rows')[0]}`, commits {commits}.\n\n"
    )


def _steps(settings: dict[str, Any]) -> int:
    """Of the detector that was trained longest."""
    return max(value for name, value in settings.items() if re.fullmatch(r"steps_\d+", name))


def _work(row: dict[str, Any]) -> tuple[int, int]:
    """Orders rows by their longest training, then by how many levels took part."""
    settings = row["settings"]
    return _steps(settings), sum(f"steps_{level}" in settings for level in LEVELS)


def with_tables(text: str) -> str:
    """The page's text with tables of the result files."""
    for name, make in TABLES.items():
        pattern = re.compile(rf"<!-- table: grad {name} -->\n.*?<!-- end -->", re.DOTALL)
        found = pattern.search(text)
        if found is None:
            raise SystemExit(f"{PAGE} has no place for the table grad {name}.")
        start, end = found.span()
        text = f"{text[:start]}<!-- table: grad {name} -->\n{make()}<!-- end -->{text[end:]}"
    return text


TABLES: Mapping[str, Callable[[], str]] = {
    "box": box,
    "seeds": seeds,
    "watch": watch,
    "mtd": mtd,
    "ablation": ablation,
    "validation": validation,
}


if __name__ == "__main__":
    PAGE.write_text(with_tables(PAGE.read_text()))
