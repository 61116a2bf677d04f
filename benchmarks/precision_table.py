"""Write the tables of docs/backends.md from the results: python benchmarks/precision_table.py."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PAGE = ROOT / "docs" / "backends.md"
MACHINE = "x86_64-avx512amx-2cores"
END = "<!-- end -->"


def result(part: str) -> dict[str, Any] | None:
    """What ``precision.py`` wrote of one part; None where it has not run."""
    path = RESULTS / f"precision_{part}.{MACHINE}.json"
    if part == "grad":  # of the machine that ran it
        path = next(iter(sorted(RESULTS.glob(f"precision_{part}.*.json"))), path)
    return json.loads(path.read_text()) if path.exists() else None


def scores(found: dict[str, Any] | None) -> str:
    """Cost in scores, AUROC and verdicts."""
    if found is None:
        return "Not run yet."
    lines = [
        heading(found),
        "",
        "| network | px | backend | precision | calibrated on | median | largest | image AUROC "
        "| verdicts that differ | golden drift |",
        "|---|--:|---|---|---|--:|--:|--:|--:|--:|",
    ]
    before = None
    for row in found["rows"]:
        group = (row["network"], row["size"])
        start = (
            f"| {row['network'] if group != before else ''} "
            f"| {row['size'] if group != before else ''} | {row['backend']} | {row['precision']} "
            f"| {row.get('calibration') or ''} | "
        )
        if "refused" in row:  # its golden pictures drifted, or it does not run there
            lines.append(f"{start}refused at open | | | | |")
        else:
            lines.append(
                f"{start}{number(row['score_error_median'])} "
                f"| {number(row['score_error_max'])} | {row['image_auroc']:.4f} "
                f"| {row['verdict_flips']} of {row['pictures']} | {number(row['golden_drift'])} |"
            )
        before = group
    return "\n".join(lines)


def times(found: dict[str, Any] | None) -> str:
    """Time of the network alone, and the error of its features."""
    if found is None:
        return "Not run yet."
    lines = [
        heading(found),
        "",
        "| network | px | backend | precision | ms | error of its features |",
        "|---|--:|---|---|--:|---|",
    ]
    for row in found["rows"]:
        low, high = row["ms_interval"]
        lines.append(
            f"| {row['network']} | {row['size']} | {row['backend']} | {row['precision']} "
            f"| {row['ms']:.2f} [{low:.2f}, {high:.2f}] "
            f"| {', '.join(number(error) for error in row['feature_error'])} |"
        )
    return "\n".join(lines)


def heading(found: dict[str, Any]) -> str:
    """Machine, versions, command."""
    machine = found["machine"]
    versions = ", ".join(
        f"{name} {machine['versions'][name]}"
        for name in ("onnxruntime", "openvino", "torch")
        if name in machine["versions"]
    )
    return (
        f"{machine['processor']}, {machine['threads']} threads, level {machine['level']}; "
        f"{versions}. `{found['command']}`, commit {found['commit']}, load {found['load']}."
    )


def number(value: float) -> str:
    """Two figures; small ones as powers of ten."""
    if value == 0:
        return "0"
    return f"{value:.0e}" if abs(value) < 1e-4 else f"{value:.2g}"


def with_tables(page: str) -> str:
    """The page with the tables of today's result files."""
    for part, make in (("scores", scores), ("times", times), ("grad", scores)):
        begin = f"<!-- table: precision {part} -->"
        before, rest = page.split(begin, 1)
        _, after = rest.split(END, 1)
        page = f"{before}{begin}\n{make(result(part))}\n{END}{after}"
    return page


if __name__ == "__main__":
    PAGE.write_text(with_tables(PAGE.read_text()))
