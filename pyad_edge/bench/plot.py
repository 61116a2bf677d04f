"""The plot of a bench report: how latencies are distributed, and how they went over time."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyad_edge.errors import DataError, SettingError

__all__ = ["check_plot", "draw_plot"]

# Okabe and Ito's colours: told apart by all readers.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#000000")
TAIL = (50, 90, 99)


def check_plot(path: Path) -> None:
    """Refuse a plot that could not be drawn later, before anything is timed.

    Raises:
        SettingError: if matplotlib is missing or the file is no .png.
        DataError: if its folder does not exist.
    """
    if importlib.util.find_spec("matplotlib") is None:
        raise SettingError(
            "[bench] --plot needs matplotlib. Run: pip install 'pyad_edge[bench]', or leave it out."
        )
    if path.suffix.lower() != ".png":
        raise SettingError(f"[bench] expected a .png file for --plot, got {path}.")
    if not path.parent.is_dir():
        raise DataError(
            f"[bench] the folder {path.parent} of --plot does not exist. Make it first."
        )


def draw_plot(
    path: Path,
    traces: Mapping[str, NDArray[np.float64]],
    *,
    title: str,
    deadline: float | None = None,
) -> None:
    """Write a PNG, 1500 x 1050 pixels.

    Args:
        path: of the file.
        traces: ms of each query in turn, by run; at least one run.
        title: what was measured, where; one line, or two.
        deadline: ms, of the camera; drawn as a line.
    """
    figure_module: Any = importlib.import_module("matplotlib.figure")
    figure = figure_module.Figure(figsize=(10, 7), dpi=150, layout="constrained")
    figure.suptitle(title, fontsize=10)
    distribution, timeline = figure.subplots(2, 1)
    for color, (name, values) in zip(COLORS, traces.items(), strict=False):
        _distribution(distribution, values, name, color)
        timeline.plot(
            np.arange(1, len(values) + 1),
            values,
            color=color,
            linestyle="none",
            marker=".",
            markersize=3,
        )
    for axes in (distribution, timeline):
        axes.grid(alpha=0.3)
    distribution.set_xscale("log")
    distribution.set(xlabel="latency, ms", ylabel="part of queries as fast or faster, %")
    distribution.set_ylim(0, 101)
    distribution.xaxis.set_major_formatter("{x:g}")
    distribution.xaxis.set_minor_formatter("{x:g}")
    distribution.tick_params(axis="x", which="both", labelsize=7)
    timeline.set_yscale("log")
    timeline.set(xlabel="query, in the order of the run", ylabel="latency, ms")
    timeline.yaxis.set_major_formatter("{x:g}")
    timeline.yaxis.set_minor_formatter("{x:g}")
    timeline.tick_params(axis="y", which="both", labelsize=7)
    if deadline is not None:
        distribution.axvline(deadline, color="black", linestyle="--", linewidth=1)
        timeline.axhline(deadline, color="black", linestyle="--", linewidth=1)
        distribution.text(deadline, 3, f" deadline {deadline:.4g} ms", fontsize=8)
    # One legend for both, outside: inside it would hide some part of any distribution.
    figure.legend(
        *distribution.get_legend_handles_labels(), fontsize=8, loc="outside lower center", ncols=2
    )
    figure.savefig(path, format="png")


def _distribution(axes: Any, values: NDArray[np.float64], name: str, color: str) -> None:
    """The share of queries up to each latency, with p50, p90 and p99 as points."""
    ordered = np.sort(values)
    share = np.arange(1, len(ordered) + 1) / len(ordered) * 100
    points = np.percentile(values, TAIL)
    label = f"{name}: " + ", ".join(
        f"p{p} {value:.3g}" for p, value in zip(TAIL, points, strict=True)
    )
    axes.step(ordered, share, where="post", color=color, label=f"{label} ms")
    axes.plot(points, TAIL, linestyle="none", marker="o", markersize=4, color=color)
