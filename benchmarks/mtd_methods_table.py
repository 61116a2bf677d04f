"""Write the tables of docs/methods from the result file: python benchmarks/mtd_methods_table.py."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mtd_methods import FIGURES, RESULT, known

ROOT = Path(__file__).resolve().parents[1]
BEGIN, END = "<!-- table: mtd methods -->", "<!-- end -->"
BANKS = ("patchcore", "patchcore-average")
PAGES = {
    "docs/methods/patchcore.md": (*BANKS, "patchcore-ensemble"),
    "docs/methods/reconpatch.md": (
        *BANKS,
        "patchcore-ensemble",
        "reconpatch-512",
        "reconpatch-128",
        "reconpatch-64",
        "reconpatch-ensemble",
        "refinement",
    ),
    "docs/methods/recontrast.md": (*BANKS, "recontrast"),
}
NAMES = {
    "patchcore": "PatchCore",
    "patchcore-average": "PatchCore, `--aggregation average`",
    "patchcore-ensemble": "PatchCore, `--aggregation average`, two networks",
    "reconpatch-512": "ReConPatch, 512 dims",
    "reconpatch-128": "ReConPatch, 128 dims",
    "reconpatch-64": "ReConPatch, 64 dims",
    "reconpatch-ensemble": "ReConPatch, two networks",
    "refinement": "with refinement",
    "recontrast": "ReContrast",
}
SCHEDULES = {
    "reconpatch_epochs": "{:g} epochs",
    "reconpatch_steps": "{:,} steps",
    "reconpatch_batch": "batch {:,}",
    "iterations": "{:,} iterations",
    "batch": "batch {:,}",
    "precision": "{}",
    "alpha_rise": "mining rises over {:.0%} of them",
}


def table(rows: Sequence[dict[str, Any]], names: Sequence[str]) -> str:
    """Mean and standard deviation of each method over its seeds."""
    lines = [
        "| method | backbone | seeds | image AUROC | pixel AUROC | AUPRO | training | schedule |",
        "|---|---|--:|--:|--:|--:|--:|---|",
    ]
    used = []
    for name in names:
        own = [row for row in rows if row["row"] == name]
        if not own:
            lines.append(f"| {NAMES[name]} | | 0 | not run | | | | |")
            continue
        used += own
        cells = [spread([row[figure] for row in own]) for figure in FIGURES]
        seconds = statistics.mean(row["train_seconds"] for row in own)
        lines.append(
            f"| {label(own[0])} | {' + '.join(own[0]['backbones'])} | {len(own)} "
            f"| {' | '.join(cells)} | {seconds:.0f} s | {schedule(own[0])} |"
        )
    notes = dict.fromkeys(f"{NAMES[row['row']]}: {row['note']}" for row in used if row.get("note"))
    return "\n".join([heading(used), "", *lines, "", *notes]).rstrip() if used else "Not run yet."


def label(row: dict[str, Any]) -> str:
    """The method's name; of a refinement, what it refines."""
    base = f"{NAMES[row['refines']]}, " if row.get("refines") else ""
    return base + NAMES[row["row"]]


def schedule(row: dict[str, Any]) -> str:
    """How long it was trained, as the engine records it."""
    if row.get("refines"):
        return "[its page](refinement.md)"
    settings = row["settings"]
    return ", ".join(text.format(settings[k]) for k, text in SCHEDULES.items() if k in settings)


def spread(values: Sequence[float]) -> str:
    """``0.9123 ± 0.0021``; of one seed, the value alone."""
    if len(values) == 1:
        return f"{values[0]:.4f}"
    return f"{statistics.mean(values):.4f} ± {statistics.stdev(values):.4f}"


def heading(rows: Sequence[dict[str, Any]]) -> str:
    """Data, machine, command."""
    places = sorted({(r["machine"]["processor"], r["machine"]["cores"]) for r in rows})
    machines = " and ".join(f"{name} ({cores} cores)" for name, cores in places)
    threads = sorted({row["machine"]["threads"] for row in rows})
    commits = ", ".join(sorted({row["commit"] for row in rows}))
    return (
        "Magnetic Tile Defects, whole pictures at 256 × 256, the same division and all of test, "
        "last step of the training; mean ± standard deviation over seeds. "
        f"{machines}, {' or '.join(map(str, threads))} thread{'' if threads == [1] else 's'}, "
        f"beside other work (load {min(r['load'] for r in rows)} to "
        f"{max(r['load'] for r in rows)}), so the seconds are upper bounds. "
        f"`python benchmarks/mtd_methods.py`, commits {commits}."
    )


def with_table(page: str, rows: Sequence[dict[str, Any]], names: Sequence[str]) -> str:
    """The page with today's table."""
    before, rest = page.split(BEGIN, 1)
    _, after = rest.split(END, 1)
    return f"{before}{BEGIN}\n{table(rows, names)}\n{END}{after}"


def main() -> None:
    rows = known(RESULT)
    for name, names in PAGES.items():
        page = ROOT / name
        page.write_text(with_table(page.read_text(), rows, names))


if __name__ == "__main__":
    main()
