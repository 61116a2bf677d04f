"""Write the tables of docs/kernels.md from the results: python benchmarks/kernels_table.py."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PAGE = ROOT / "docs" / "kernels.md"
BEGIN, END = "<!-- table: kernels -->", "<!-- end -->"


def results() -> list[dict[str, Any]]:
    """What run.py wrote, a file per machine, in the order of their names."""
    return [json.loads(path.read_text()) for path in sorted(RESULTS.glob("kernels.*.json"))]


def table(result: dict[str, Any]) -> str:
    """One machine's results in Markdown."""
    machine = result["machine"]
    versions = machine["versions"]
    peers = ", ".join(f"{name} {versions[name]}" for name in versions if name != "pyad_edge")
    ceilings = ", ".join(
        f"{name} {value:,.0f} {unit_of(name)}" for name, value in result["ceilings"].items()
    )
    lines = [
        f"{machine['processor']}, {machine['threads']} threads, level {machine['level']}; {peers}. "
        f"Ceilings measured in the same run: {ceilings}. Other levels are in the result file.",
        "",
        "| kernel | case | contender | ms | times ours | error | rate | of ceiling |",
        "|---|---|---|--:|--:|--:|--:|--:|",
    ]
    before = ("", "")
    for row in result["rows"]:
        group = (row["kernel"], row["case"])
        if group == before and row["name"].startswith("pyad_edge"):
            continue  # other levels and screens: in the file
        lines.append(
            f"| {row['kernel'] if row['kernel'] != before[0] else ''} "
            f"| {row['case'] if group != before else ''} "
            f"| {row['name']} | {number(row['ms'])} "
            f"| {row['ratio']:.2f} [{row['low']:.2f}, {row['high']:.2f}] | {row['error']:.0e} "
            f"| {rate(row)} | {fraction(row)} |"
        )
        before = group
    searched = [note for note in result["notes"] if "candidates_per_query" in note]
    if searched:
        lines += [
            "",
            "| search | form | dims screened | candidates per query | 99 % | most | faiss / form |",
            "|---|---|--:|--:|--:|--:|--:|",
        ]
    faster = {
        (note["case"], note["form"]): note
        for note in result["notes"]
        if "times faster than faiss IndexFlatL2" in note
    }
    for note in searched:
        against = faster.get((note["case"], note["form"]))
        ratio = "" if against is None else f"{against['times faster than faiss IndexFlatL2']:.2f}"
        lines.append(
            f"| {note['case']} | {note['form']} | {note['dims_screened']} "
            f"| {note['candidates_per_query']} | {note['candidates_p99']} "
            f"| {note['candidates_most']} | {ratio} |"
        )
    return "\n".join(lines)


def number(value: float) -> str:
    """Three significant digits, no exponent."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def rate(row: dict[str, Any]) -> str:
    return "" if row["giga"] is None else f"{number(row['giga'])} {row['unit']}"


def fraction(row: dict[str, Any]) -> str:
    if row["fraction"] is None:
        return ""
    return f"{row['fraction']:.0%} of {row['ceiling']}"


def unit_of(ceiling: str) -> str:
    kind = ceiling.split(",")[0].split(".")[0]
    return {"copy": "GB/s", "read": "GB/s", "int8": "GOP/s"}.get(kind, "GFLOP/s")


def with_tables(page: str) -> str:
    """The page with the tables of today's result files."""
    before, rest = page.split(BEGIN, 1)
    _, after = rest.split(END, 1)
    tables = "\n\n".join(table(result) for result in results())
    line = "\n" if tables else ""
    return f"{before}{BEGIN}\n{tables}{line}{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(with_tables(PAGE.read_text()))
