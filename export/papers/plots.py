"""Low-shot and coreset studies as pictures."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pyad_edge.errors import SettingError
from pyad_edge.export.datasets import DATASETS
from pyad_edge.export.papers.published import columns
from pyad_edge.export.papers.summary import METRICS, Line

__all__ = ["check_matplotlib", "draw_coreset", "draw_shots"]

# Okabe and Ito's colours: told apart by all readers.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#000000")
SHOWN = ("image_auroc", "pixel_auroc", "aupro")
Series = dict[str, list[tuple[float, float, float]]]  # x, y and deviation by name


def check_matplotlib() -> None:
    """Refuse figures that could not be drawn later, before anything is trained.

    Raises:
        SettingError: if matplotlib is missing.
    """
    if importlib.util.find_spec("matplotlib") is None:
        raise SettingError(
            "[bench papers] the figures of --shots and of several --coreset need matplotlib. Run: "
            "pip install 'pyad_edge[bench]'."
        )


def draw_shots(path: Path, lines: Sequence[Line], dataset: str) -> None:
    """Metrics by number of training pictures, as PatchCore's Figure 6; published points beside.

    Args:
        path: of the PNG.
        lines: with ``shots``.
        dataset: key.
    """
    ours = {
        metric: _series(lines, metric, x=lambda line: line.shots, name=lambda line: line.label)
        for metric in SHOWN
    }
    theirs: dict[str, Series] = {metric: {} for metric in SHOWN}
    for column in columns(dataset):
        if column.shots is not None and column.metric in SHOWN:
            name = f"{column.variant.split(',')[0]}, {column.source}"
            point = (column.shots, column.mean, column.mean_spread or 0.0)
            theirs[column.metric].setdefault(name, []).append(point)
    _draw(
        path,
        ours,
        theirs,
        label="good pictures to train on",
        title=f"{_title(dataset)}: from few pictures",
    )


def draw_coreset(path: Path, lines: Sequence[Line], dataset: str) -> None:
    """Metrics by share of the patches kept, as PatchCore's Figure 5; published points beside.

    Args:
        path: of the PNG.
        lines: of memory banks.
        dataset: key.
    """
    kept = [line for line in lines if line.coreset is not None]
    ours = {
        metric: _series(
            kept, metric, x=lambda line: 100 * line.coreset, name=lambda line: _uncounted(line)
        )
        for metric in SHOWN
    }
    theirs: dict[str, Series] = {metric: {} for metric in SHOWN}
    tables = {("patchcore", "S1"), ("patchcore", "S2"), ("patchcore", "S3"), ("reconpatch", "1")}
    for column in columns(dataset):
        if column.coreset is not None and (column.paper, column.table) in tables:
            name = f"{column.title}, {column.setting.split(',')[0]}"
            point = (100 * column.coreset, column.mean, 0.0)
            theirs[column.metric].setdefault(name, []).append(point)
    _draw(
        path,
        ours,
        theirs,
        label="patches kept, %",
        title=f"{_title(dataset)}: share of the patches in the bank",
    )


def _series(lines: Sequence[Line], metric: str, *, x: Any, name: Any) -> Series:
    found: Series = {}
    for line in lines:
        own = line.figures.get(metric, {}).get(None)
        if own is not None:
            point = (float(x(line)), own.mean, own.spread or 0.0)
            found.setdefault(name(line), []).append(point)
    return {key: sorted(points) for key, points in found.items()}


def _draw(
    path: Path, ours: dict[str, Series], theirs: dict[str, Series], *, label: str, title: str
) -> None:
    figure_module: Any = importlib.import_module("matplotlib.figure")
    shown = [metric for metric in SHOWN if ours[metric]]
    figure = figure_module.Figure(
        figsize=(4.2 * len(shown) + 0.6, 4.6), dpi=150, layout="constrained"
    )
    figure.suptitle(title, fontsize=10)
    names = list(dict.fromkeys(key for m in shown for key in (*ours[m], *theirs[m])))
    colors = {key: COLORS[number % len(COLORS)] for number, key in enumerate(names)}
    for axes, metric in zip(figure.subplots(1, len(shown), squeeze=False)[0], shown, strict=True):
        ticks: set[float] = set()
        for published, series in ((False, ours[metric]), (True, theirs[metric])):
            for key, points in series.items():
                x, y, spread = zip(*sorted(points), strict=True)
                ticks |= set(x)
                axes.errorbar(
                    x,
                    y,
                    yerr=spread,
                    color=colors[key],
                    linestyle="--" if published else "-",
                    marker="s" if published else "o",
                    fillstyle="none" if published else "full",
                    markersize=4,
                    linewidth=1,
                    capsize=2,
                    label=key,
                )
        axes.set_xscale("log")
        axes.set_xticks(sorted(ticks), [f"{tick:g}" for tick in sorted(ticks)], fontsize=7)
        axes.minorticks_off()
        axes.set(xlabel=label, ylabel=f"{METRICS[metric]}, %")
        axes.grid(alpha=0.3)
    handles: dict[str, Any] = {}
    for axes in figure.axes:
        for handle, key in zip(*axes.get_legend_handles_labels(), strict=True):
            handles.setdefault(key, handle)
    figure.legend(handles.values(), handles.keys(), fontsize=7, loc="outside lower center", ncols=2)
    figure.savefig(path, format="png")


def _uncounted(line: Line) -> str:
    """A label without its share of the coreset, which is the axis."""
    share = f"-{100 * (line.coreset or 0):g} %"
    return line.label.replace(share, "", 1)


def _title(dataset: str) -> str:
    return DATASETS[dataset].title
