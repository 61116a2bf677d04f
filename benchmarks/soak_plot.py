"""The plot of a soak: memory, handles and threads, and latency from tenth to tenth."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

__all__ = ["draw_soak"]

BLUE, RED, GREEN = "#0072B2", "#D55E00", "#009E73"  # Okabe and Ito


def draw_soak(
    path: Path,
    table: Mapping[str, NDArray[Any]],
    found: Mapping[str, Any],
    *,
    warm_up: float,
) -> None:
    """Write a PNG, 1500 x 1350 pixels.

    Args:
        path: of the file.
        table: readings over time, by name.
        found: the figures.
        warm_up: part of the run that the slope leaves out; shown in grey.
    """
    figure_module: Any = importlib.import_module("matplotlib.figure")
    figure = figure_module.Figure(figsize=(10, 9), dpi=150, layout="constrained")
    verdicts = sum(found["verdicts"].values())
    figure.suptitle(
        f"{found['triggers']:,} triggers in {found['seconds']:,.0f} s = {verdicts:,} verdicts + "
        f"{found['faults']:,} faults + {found['dropped']:,} dropped",
        fontsize=11,
    )
    memory, counts, latency = figure.subplots(3, 1)
    minutes = table["seconds"] / 60
    memory.plot(minutes, table["memory_mb"], color=BLUE, linewidth=1)
    memory.set(ylabel="resident memory, MB", xlabel="minutes")
    memory.set_title(
        f"slope after the warm-up: {found['memory_slope_mb_per_h']:+.2f} MB/h", fontsize=9
    )
    counts.step(minutes, table["handles"], color=RED, linewidth=4, label="open handles")
    counts.step(minutes, table["threads"], color=GREEN, linewidth=1, label="Python's threads")
    counts.set(ylabel="number", xlabel="minutes")
    counts.set_ylim(bottom=0)
    counts.legend(loc="lower right", fontsize=8)
    for axes in (memory, counts):
        axes.axvspan(0, warm_up * minutes[-1], color="#dddddd", zorder=0)
        axes.set_xlim(0, minutes[-1])
    p99 = found["p99_ms_by_tenth"]
    latency.bar(range(1, len(p99) + 1), p99, color=BLUE)
    latency.axhline(p99[0], color=RED, linewidth=1, linestyle="--")
    latency.set(ylabel="p99 of the latency, ms", xlabel="tenth of the run")
    latency.set_xticks(range(1, len(p99) + 1))
    latency.set_title(f"last over first: {found['p99_last_over_first']:.3f}", fontsize=9)
    for axes in (memory, counts, latency):
        axes.grid(alpha=0.3)
    figure.savefig(path)
