"""Write the tables of docs/export.md from their results: python benchmarks/export_table.py."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from precision_table import number

ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / "benchmarks" / "results" / "export_agreement.json"
PAGE = ROOT / "docs" / "export.md"
TIMES = sorted(RESULT.parent.glob("export_times.*.json"))  # one a machine
BEGIN, END = "<!-- table: export agreement -->", "<!-- end -->"
BEGIN_TIMES = "<!-- table: export times -->"


def rows() -> list[dict[str, Any]]:
    """What ``export_agreement.py`` wrote; empty where it has not run."""
    return json.loads(RESULT.read_text())["rows"] if RESULT.exists() else []


def table(found: list[dict[str, Any]]) -> str:
    """One row for each method, target and precision."""
    if not found:
        return "Not run yet."
    lines = [
        "| method | target | precision | frames | score: relative | map: relative | verdicts that "
        "differ | image AUROC, engine | export | MB |",
        "|---|---|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    before = None
    for row in found:
        method = row["method"] if row["method"] != before else ""
        start = f"| {method} | {row['target']} | {row['precision']} | "
        size = f"{row['bytes'] / 1e6:.1f} |"
        if "refused" in row:
            lines.append(f"{start}not built | | | | | | |")
        elif "frames" not in row:
            lines.append(f"{start}built, not run | | | | | | {size}")
        else:
            aurocs = [row.get(name) for name in ("engine_auroc", "image_auroc")]
            shown = " | ".join("" if value is None else f"{value:.4f}" for value in aurocs)
            frames = f"{row['frames']}{' golden' if row['not_run'] else ''}"
            refused = ", refused" if row["faults"] else ""
            lines.append(
                f"{start}{frames} | {number(row['score_relative'])}{refused} "
                f"| {number(row['map_relative'])} | {len(row['flips'])} | {shown} | {size}"
            )
        before = row["method"]
    return "\n".join([*lines, "", _heading(found)])


def _heading(found: list[dict[str, Any]]) -> str:
    """Machine, versions, commits."""
    machines = dict.fromkeys(_machine(row["machine"]) for row in found)
    commits = ", ".join(dict.fromkeys(row["commit"] for row in found))
    return f"{' and '.join(machines)}. `python benchmarks/export_agreement.py`, commits {commits}."


def _machine(machine: dict[str, Any]) -> str:
    """Processor, level, versions."""
    versions = ", ".join(
        f"{name} {machine['versions'][name]}"
        for name in ("onnxruntime", "openvino")
        if name in machine["versions"]
    )
    return f"{machine['processor']}, level {machine['level']}; {versions}"


def times(content: dict[str, Any]) -> str:
    """Times of the forms that run on a CPU, over the engine's own."""
    lines = [
        "| method | form | precision | ms, median | over the engine's own | 95 % interval |",
        "|---|---|---|--:|--:|--:|",
    ]
    before = None
    for row in content["rows"]:
        method = row["method"] if row["method"] != before else ""
        low, high = row["ratio_interval"]
        lines.append(
            f"| {method} | {row['target']} | {row['precision']} | {row['ms']:.1f} "
            f"| {row['ratio']:.2f} | {low:.2f} to {high:.2f} |"
        )
        before = row["method"]
    machine = content["machine"]
    about = (
        f"{machine['processor']}, level {machine['level']}, {machine['threads']} threads. "
        f"`{content['command']}`, commit {content['commit']}."
    )
    return "\n".join([*lines, "", about])


def with_table(page: str) -> str:
    """The page with the tables of today's result files."""
    page = _between(page, BEGIN, table(rows()))
    tables = [times(json.loads(path.read_text())) for path in TIMES]
    return _between(page, BEGIN_TIMES, "\n\n".join(tables))


def _between(page: str, begin: str, text: str) -> str:
    before, rest = page.split(begin, 1)
    _, after = rest.split(END, 1)
    return f"{before}{begin}\n{text}\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text()))
