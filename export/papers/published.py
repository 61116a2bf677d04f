"""Figures that the five papers print; every one with its paper, table, data set and metric.

``figures/<method>.json`` holds them as printed, in percent or as fractions; here all are percent.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

__all__ = ["PAPERS", "Claim", "Column", "columns", "latency_claims", "published"]

FOLDER = Path(__file__).resolve().parent / "figures"
PAPERS = ("patchcore", "reconpatch", "recontrast", "fod", "grad")
_SCALE = {"percent": 1.0, "fraction": 100.0}
_DIGITS = {"percent": 0, "fraction": 2}  # that a percent has less than a fraction


@dataclass(frozen=True)
class Column:
    """One column of a table: a metric of a method on a data set. All figures in percent.

    Attributes:
        paper: whose table it is, key of ``PAPERS``; title: as it is cited.
        table: number as printed, such as ``S1``.
        dataset, method, metric: keys as ``bench papers`` has them.
        variant: the method as the table calls it.
        setting: network, size and schedule behind it, as far as the paper says.
        backbone: timm's name of the network, where it is one.
        coreset, shots: of memory banks, and of low-shot tables.
        categories: by name; empty where the table has only the mean.
        decimals: of the categories' figures.
        mean: as printed; mean_decimals: its digits. mean_spread: its deviation over runs.
        groups: printed means of ``objects`` and ``textures``.
        mean_of_categories: where the printed mean is another than that of the printed categories.
        note: what a reader has to know.
    """

    paper: str
    title: str
    table: str
    dataset: str
    method: str
    variant: str
    metric: str
    setting: str
    mean: float
    mean_decimals: int
    categories: Mapping[str, float] = field(default_factory=dict)
    decimals: int = 0
    backbone: str | None = None
    coreset: float | None = None
    shots: int | None = None
    mean_spread: float | None = None
    groups: Mapping[str, float] = field(default_factory=dict)
    mean_of_categories: float | None = None
    note: str | None = None

    @property
    def source(self) -> str:
        """Paper and table, for people."""
        return f"{self.title}, Table {self.table}"

    def figure(self, category: str | None) -> str:
        """A category's figure, or the mean, with the digits that the paper gives; ``-``: none."""
        if category is None:
            text = f"{self.mean:.{self.mean_decimals}f}"
            return text if self.mean_spread is None else f"{text} ± {self.mean_spread:g}"
        value = self.categories.get(category)
        return "-" if value is None else f"{value:.{self.decimals}f}"


@dataclass(frozen=True)
class Claim:
    """A latency as a paper prints it.

    Attributes:
        method: ours of that name, ``export/methods/<method>``.
        printed: the figure in the paper's unit.
        ms: the same in milliseconds a picture.
        device, conditions: as the paper says.
        where: paper and table.
    """

    method: str
    printed: str
    ms: float
    device: str
    conditions: str
    where: str


def published(
    dataset: str,
    method: str,
    metric: str,
    *,
    coreset: float | None = None,
    backbone: str | None = None,
    shots: int | None = None,
) -> Column | None:
    """The column to set beside a measurement; None: no paper has one.

    The method's own paper comes first, then the same share of the coreset, then the same network,
    then a table with categories, then the order of the files.

    Args:
        dataset, method, metric: keys.
        coreset, backbone: of the measurement.
        shots: training pictures; a low-shot figure stands beside its own number of pictures only.
    """
    found = [column for column in columns(dataset, method, metric) if column.shots == shots]

    def rank(column: Column) -> tuple[bool, ...]:
        return (
            column.paper != method,
            coreset is not None and column.coreset not in (None, coreset),
            backbone is not None and column.backbone != backbone,
            not column.categories,
        )

    return min(found, key=rank, default=None)


def columns(
    dataset: str | None = None, method: str | None = None, metric: str | None = None
) -> Sequence[Column]:
    """All columns of these; None: any."""
    return [
        column
        for column in _columns()
        if dataset in (None, column.dataset)
        and method in (None, column.method)
        and metric in (None, column.metric)
    ]


@cache
def latency_claims() -> tuple[Claim, ...]:
    """Latencies of the papers' tables."""
    content = json.loads((FOLDER / "latency.json").read_text(encoding="utf-8"))
    return tuple(Claim(**row) for row in content["claims"])


@cache
def _columns() -> tuple[Column, ...]:
    found: list[Column] = []
    for paper in PAPERS:
        content = json.loads((FOLDER / f"{paper}.json").read_text(encoding="utf-8"))
        title = f"{content['paper']['name']} ({content['paper']['where']})"
        found += [_column(paper, title, row) for row in content["columns"]]
    return tuple(found)


def _column(paper: str, title: str, row: dict[str, Any]) -> Column:
    own = dict(row)
    unit = own.pop("unit")
    own.pop("spread", None)  # of categories; tables here have the mean's
    for name in ("mean", "mean_spread", "mean_of_categories"):
        if name in own:
            own[name] *= _SCALE[unit]
    for name in ("categories", "groups"):
        if name in own:
            scaled = {key: value * _SCALE[unit] for key, value in own[name].items()}
            own[name] = scaled
    for name in ("decimals", "mean_decimals"):
        if name in own:
            own[name] = max(0, own[name] - _DIGITS[unit])
    return Column(paper=paper, title=title, **own)
