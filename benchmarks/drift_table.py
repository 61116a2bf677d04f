"""Write the tables of docs/drift.md from their results: python benchmarks/drift_table.py."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PAGE = ROOT / "docs" / "drift.md"
PICTURES = ("lamp", "mixed")
NAMES = {"lamp": "MTD, one lamp", "mixed": "MTD as it is"}
BEGIN, END = "<!-- table: drift -->", "<!-- end -->"


def results() -> list[dict[str, Any]]:
    """What ``drift.py`` wrote for each kind of pictures."""
    return [json.loads((RESULTS / f"drift_{name}.json").read_text()) for name in PICTURES]


def alarms(rows: list[dict[str, Any]]) -> list[str]:
    """False alarms: one row for each stream."""
    lines = [
        "| pictures | stream | learned | good parts | false alarms | per 100,000 | at most |",
        "|---|---|--:|--:|--:|--:|--:|",
    ]
    for row in rows:
        found = row["false_alarms"]
        lines.append(
            f"| {NAMES[row['pictures']]} | {row['stream']} | {row['learn']:,} "
            f"| {found['parts']:,} | {found['alarms']} | {found['per_100000']:.2f} "
            f"| {found['per_100000_at_most']:.2f} |"
        )
    return lines


def delays(rows: list[dict[str, Any]]) -> list[str]:
    """Parts until the first alarm: one row for each stream, one column for each drift."""
    cases = [one["case"] for one in rows[0]["delays"]]
    lines = [
        f"| pictures | stream | {' | '.join(cases)} |",
        f"|---|---|{'--:|' * len(cases)}",
    ]
    for row in rows:
        cells = []
        for one in row["delays"]:
            share = 100.0 * one["within_200"]
            p95 = "-" if one["p95"] is None else f"{one['p95']:.0f}"
            median = "-" if one["median"] is None else f"{one['median']:.0f}"
            cells.append(f"{median}, {p95} ({share:.0f} %)")
        lines.append(f"| {NAMES[row['pictures']]} | {row['stream']} | {' | '.join(cells)} |")
    return lines


def about(contents: list[dict[str, Any]]) -> str:
    """Machine, cost, commits, commands."""
    machine, spent = contents[0]["machine"], contents[0]["microseconds"]
    commits = ", ".join(dict.fromkeys(content["commit"] for content in contents))
    commands = "; ".join(f"`{content['command']}`" for content in contents)
    return (
        f"A frame of 256 x 256 takes {spent['mono']['charts']:.0f} µs in mono and "
        f"{spent['colour']['charts']:.0f} µs in colour, {spent['mono']['learning']:.0f} and "
        f"{spent['colour']['learning']:.0f} µs while learning (measures, median; "
        f"{machine['processor']}, one thread, other work beside it: load {contents[0]['load']} on "
        f"{machine['cores']} cores). {commands}, commits {commits}."
    )


def table(contents: list[dict[str, Any]]) -> str:
    """All of it."""
    rows = [row for content in contents for row in content["rows"]]
    return "\n".join([*alarms(rows), "", *delays(rows), "", about(contents)])


def with_table(page: str) -> str:
    """The page with the tables of today's result files."""
    before, rest = page.split(BEGIN, 1)
    _, after = rest.split(END, 1)
    return f"{before}{BEGIN}\n{table(results())}\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text()))
