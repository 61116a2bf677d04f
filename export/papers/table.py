"""The papers' tables with our columns beside theirs: on the terminal, and as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.markup import escape
from rich.table import Table

from pyad_edge.export.datasets import DATASETS
from pyad_edge.export.papers.summary import METRICS, Line

__all__ = ["Grid", "grids_of", "markdown", "rich_table"]

FIRST = 22  # columns of a terminal for methods and categories


@dataclass(frozen=True)
class Grid:
    """One table.

    Attributes:
        title: above it.
        header: of the columns; rows: as many cells each.
        notes: below it, a sentence each.
    """

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...]


def grids_of(lines: Sequence[Line], dataset: str) -> list[Grid]:
    """Tables of a data set: one of all contenders if there is one category, else one for each."""
    title = DATASETS[dataset].title
    names = {name for line in lines for name in line.categories}
    if len(names) == 1:
        own = f"{title}, %" if names == {dataset} else f"{title}: {', '.join(names)}, %"
        return [_grid(own, lines, by_category=False)]
    return [_grid(f"{title}: {_name(line)}, %", [line], by_category=True) for line in lines]


def markdown(grids: Sequence[Grid]) -> str:
    """As a page."""
    parts = []
    for grid in grids:
        rule = "|".join("---" if i == 0 else "---:" for i in range(len(grid.header)))
        cells = [[text.replace("\n", "<br>") for text in row] for row in (grid.header, *grid.rows)]
        rows = ["| " + " | ".join(row) + " |" for row in cells]
        rows.insert(1, f"|{rule}|")
        notes = [f"- {note}" for note in grid.notes]
        parts.append("\n".join([f"**{grid.title}**", "", *rows, "", *notes]))
    return "\n\n".join(parts) + "\n"


def rich_table(grid: Grid) -> Table:
    """For a terminal; folds where that is narrow."""
    table = Table(title=escape(grid.title), title_justify="left", caption_justify="left")
    for number, name in enumerate(grid.header):
        if number == 0:
            table.add_column(escape(name), min_width=FIRST)
        else:
            table.add_column(escape(name), justify="right", overflow="fold")
    for row in grid.rows:
        table.add_row(*(escape(cell) for cell in row))
    return table


def _grid(title: str, lines: Sequence[Line], *, by_category: bool) -> Grid:
    shown = [metric for metric in METRICS if any(metric in line.figures for line in lines)]
    header = ["category" if by_category else "method"]
    with_paper = {metric for metric in shown if any(_beside(line, metric) for line in lines)}
    for metric in shown:
        name = METRICS[metric]
        header += [f"{name}, paper", f"{name}, here"] if metric in with_paper else [name]
    rows: list[tuple[str, ...]] = []
    for line in lines:
        if not by_category:
            start = f"{line.label}\n{_pictures(line)}, {line.schedule}"
            rows.append((start, *_cells(line, shown, with_paper, line.categories[0])))
            continue
        for category in line.categories:
            rows.append((category, *_cells(line, shown, with_paper, category)))
        rows.append((_mean(line), *_cells(line, shown, with_paper, None)))
    return Grid(title, tuple(header), tuple(rows), tuple(_notes(lines)))


def _cells(
    line: Line, metrics: Sequence[str], with_paper: set[str], category: str | None
) -> list[str]:
    cells = []
    for metric in metrics:
        if metric in with_paper:
            cells.append(line.paper(metric, category))
        own = line.figures.get(metric, {}).get(category)
        cells.append("-" if own is None else own.text())
    return cells


def _mean(line: Line) -> str:
    return "mean" if line.complete else f"mean of these {len(line.categories)}"


def _name(line: Line) -> str:
    return line.label if line.shots is None else f"{line.label}, {_pictures(line)}"


def _pictures(line: Line) -> str:
    return f"{line.pictures} picture{'' if line.pictures == '1' else 's'}"


def _beside(line: Line, metric: str) -> bool:
    """Whether a published figure of this metric stands beside any of ours."""
    return any(line.paper(metric, category) != "-" for category in (*line.categories, None))


def _notes(lines: Sequence[Line]) -> list[str]:
    """Where figures come from, and under what conditions: each sentence once."""
    notes: list[str] = []
    for line in lines:
        seeds = ", ".join(map(str, line.seeds))
        several = f"mean and sample deviation over seeds {seeds}" if len(line.seeds) > 1 else ""
        notes.append(
            f"{_name(line)}, here: {line.input}, {line.schedule}, {_pictures(line)}; "
            f"{several or f'seed {seeds}'}."
        )
        for metric in METRICS:
            if not _beside(line, metric):
                continue
            column = line.columns[metric]
            text = f"{METRICS[metric]}, paper: {column.variant}, {column.source}: {column.setting}."
            if column.mean_of_categories is not None:
                text += f" Printed mean {column.mean:g}, of the printed categories "
                text += f"{column.mean_of_categories:.4g}."
            notes.append(text)
    return list(dict.fromkeys(notes))
