"""Rows of all seeds as one line for each contender, with the published figures beside them."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pyad_edge.export.datasets import DATASETS
from pyad_edge.export.papers.published import Column, published

__all__ = ["METRICS", "Figure", "Line", "summarise"]

METRICS = {
    "image_auroc": "image AUROC",
    "structural_auroc": "structural",
    "logical_auroc": "logical",
    "mean_auroc": "mean of both",
    "pixel_auroc": "pixel AUROC",
    "aupro": "AUPRO",
    "f1_max": "F1-max",
}
"""In the order of the tables; those of LOCO's two kinds are there on LOCO only."""


@dataclass(frozen=True)
class Figure:
    """A metric over seeds, in percent.

    Attributes:
        mean: over seeds. spread: sample standard deviation; None: one seed.
    """

    mean: float
    spread: float | None

    def text(self) -> str:
        """For a table."""
        text = f"{self.mean:.2f}"
        return text if self.spread is None else f"{text} ± {self.spread:.2f}"


@dataclass(frozen=True)
class Line:
    """A contender on a data set, with one number of training pictures.

    Attributes:
        dataset: key; method, label, coreset, shots: of the contender.
        schedule, input, pictures: phrases of its trainings, one where all are alike.
        seeds: that were measured.
        categories: by name, in order.
        columns: published ones by metric.
        figures: ours by metric, then by category; None: their mean.
    """

    dataset: str
    method: str
    label: str
    coreset: float | None
    shots: int | None
    schedule: str
    input: str
    pictures: str
    seeds: tuple[int, ...]
    categories: tuple[str, ...]
    columns: dict[str, Column]
    figures: dict[str, dict[str | None, Figure]]

    @property
    def complete(self) -> bool:
        """Whether all categories of the data set were measured."""
        return len(self.categories) == DATASETS[self.dataset].categories

    def paper(self, metric: str, category: str | None) -> str:
        """The published figure, or ``-``; a mean is over the same categories as ours.

        Papers have only a mean of a data set with one category.
        """
        column = self.columns.get(metric)
        if column is None:
            return "-"
        if category is not None and DATASETS[self.dataset].categories > 1:
            return column.figure(category)
        if self.complete:
            return column.figure(None)
        own = [column.categories[name] for name in self.categories if name in column.categories]
        whole = len(own) == len(self.categories)
        return f"{statistics.fmean(own):.{column.decimals}f}" if whole else "-"


def summarise(rows: Sequence[dict[str, Any]], dataset: str) -> list[Line]:
    """Lines in the order in which their contenders first appear."""
    groups: dict[tuple[str, int | None], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["label"], row["shots"]), []).append(row)
    return [_line(own, dataset) for own in groups.values()]


def _line(rows: Sequence[dict[str, Any]], dataset: str) -> Line:
    first = rows[0]
    contender = first["identity"]["contender"]
    method, coreset, shots = contender["method"], contender["coreset"], first["shots"]
    categories = tuple(dict.fromkeys(row["category"] for row in rows))
    found = {
        metric: column
        for metric in METRICS
        if (
            column := published(
                dataset,
                method,
                metric,
                coreset=coreset,
                backbone=first["network"],
                shots=shots,
            )
        )
        is not None
    }
    figures = {metric: _figures(rows, metric, categories) for metric in METRICS}
    return Line(
        dataset=dataset,
        method=method,
        label=first["label"],
        coreset=coreset,
        shots=shots,
        schedule=_alike(row["schedule"] for row in rows),
        input=_alike(row["input"] for row in rows),
        pictures=_range([row["pictures"] for row in rows]),
        seeds=tuple(sorted({row["seed"] for row in rows})),
        categories=categories,
        columns=found,
        figures={metric: own for metric, own in figures.items() if own},
    )


def _figures(
    rows: Sequence[dict[str, Any]], metric: str, categories: Sequence[str]
) -> dict[str | None, Figure]:
    """By category, and their mean: of the seeds that have all categories."""
    values: dict[str, dict[int, float]] = {name: {} for name in categories}
    for row in rows:
        if row.get(metric) is not None:
            values[row["category"]][row["seed"]] = 100 * row[metric]
    found: dict[str | None, Figure] = {
        name: _figure(list(own.values())) for name, own in values.items() if own
    }
    if len(found) == len(categories):
        whole = set.intersection(*(set(own) for own in values.values()))
        means = [statistics.fmean(own[seed] for own in values.values()) for seed in sorted(whole)]
        if means:
            found[None] = _figure(means)
    return found


def _figure(values: Sequence[float]) -> Figure:
    spread = statistics.stdev(values) if len(values) > 1 else None
    return Figure(statistics.fmean(values), spread)


def _alike(phrases: Any) -> str:
    """One phrase, or the first of several and the last."""
    found = list(dict.fromkeys(phrases))
    return found[0] if len(found) == 1 else f"{found[0]} to {found[-1]}"


def _range(counts: Sequence[int]) -> str:
    low, high = min(counts), max(counts)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"
