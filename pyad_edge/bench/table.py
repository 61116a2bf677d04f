"""A bench report for people, in a terminal."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

__all__ = ["print_report"]

COLUMNS = ("p50", "p90", "p99", "p99.9", "max", "jitter")


def print_report(content: dict[str, Any], console: Console) -> None:
    """Print the tables and what they mean nothing without."""
    engine, backend, machine = content["engine"], content["backend"], content["machine"]
    versions = ", ".join(f"{name} {found}" for name, found in machine["versions"].items())
    bank = "no memory bank"
    if engine["bank"] is not None:
        rows, dimensions = engine["bank"]
        bank = f"bank {rows:,} x {dimensions}"
    sentences = [
        f"{engine['name']}: {engine['backbone']}, {engine['input_size'][1]} x "
        f"{engine['input_size'][0]} px, {bank}; {content['frames']}",
        f"{machine['board'] or machine['processor']}, {machine['cores']} cores, load "
        f"{_known(content['load']['before'], '.1f')} before and "
        f"{_known(content['load']['after'], '.1f')} after; {versions}",
        f"network: {', '.join(f'{key} {value}' for key, value in backend.items())}; kernels: "
        f"{machine['level']}, {machine['kernel_threads']} threads",
        f"clock: {' and '.join(sorted({run['clock'] for run in content['runs']}))}"
        + ("; of the camera: own open loop" if content["camera"] else ""),
    ]
    for sentence in sentences:
        console.print(escape(sentence), highlight=False)
    console.print(_latencies(content))
    for run in content["runs"]:
        if run["loadgen_verdict"] == "INVALID":
            console.print(
                f"[yellow]Note:[/] {run['scenario']} was too short for MLPerf's rules "
                "(LoadGen: INVALID); its figures are measured all the same. More --seconds.",
                highlight=False,
            )
    for sentence in _sentences(content):
        console.print(escape(sentence), highlight=False)


def _latencies(content: dict[str, Any]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))  # 80 columns hold it
    table.add_column("run", no_wrap=True)
    for name in (*COLUMNS, "fps", "frames", "late"):
        table.add_column(name, justify="right", no_wrap=True)
    for run in content["runs"]:
        table.add_row(
            _label(run["scenario"], run["mode"]),
            *_cells(run["latency_ms"]),
            f"{run['frames_per_second']:.1f}",
            f"{run['frames']:,}",
            "",
        )
    for run in content["camera"]:
        table.add_row(
            _label(f"camera, {run['fps']:g} fps", run["mode"]),
            *_cells(run["latency_ms"]),
            f"{run['fps']:g}",
            f"{run['frames']:,}",
            f"{run['deadline_misses']:,}",
        )
    return table


def _sentences(content: dict[str, Any]) -> list[str]:
    alone, memory, power = content["backbone"], content["memory_mb"], content["power_watts"]
    stages = ", ".join(f"{name} {ms:.2f}" for name, ms in content["stages_ms"].items())
    found = [
        "ms from frame to verdict; camera: from trigger to verdict, waiting included. "
        "Jitter: mean difference of two in a row.",
        f"stages (medians of a run of its own, ms): {stages}",
        f"backbone alone {alone['alone']['p50']:.2f} ms, infer {alone['infer']['p50']:.2f} ms in "
        f"turn with it: {alone['ratio']:.3f} times [{alone['low']:.3f}, {alone['high']:.3f}]",
        f"memory (MB): {_known(memory['before_open'], '.0f')} before the engine, "
        f"{_known(memory['opened'], '.0f')} with it, {_known(memory['warm'], '.0f')} warm, "
        f"{_known(memory['after'], '.0f')} after the runs, {_known(memory['peak'], '.0f')} at most",
        "power: not readable here"
        if power is None
        else "power (W, mean): "
        + ", ".join(f"{rail} {watts:.2f}" for rail, watts in power.items()),
    ]
    for run in content["camera"]:
        found.append(
            f"camera{'' if run['mode'] == 'infer' else ', decide'}: deadline "
            f"{run['deadline_ms']:g} ms, {run['deadline_misses']:,} of {run['frames']:,} late; "
            f"frames waited {run['queueing_ms']['mean']:.2f} ms on average, "
            f"{run['queueing_ms']['max']:.1f} at most, {run['longest_queue']} at once at most"
        )
    if "settled_early" in content:
        found.append(
            f"decide: {content['settled_early']:.0%} of these frames settled without a search; its "
            "time depends on the pictures"
        )
    return found


def _cells(latency: dict[str, float] | None) -> list[str]:
    if latency is None:
        return [""] * len(COLUMNS)
    return [f"{latency[name.replace('.', '_')]:.2f}" for name in COLUMNS]


def _label(name: str, mode: str) -> str:
    return name if mode == "infer" else f"{name}, {mode}"


def _known(value: float | None, form: str) -> str:
    return "?" if value is None else format(value, form)
