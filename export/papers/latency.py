"""The papers' latencies beside ours on the device at hand: ``bench papers --latency``."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pyad_edge.bench.session import Plan, bench
from pyad_edge.errors import SettingError
from pyad_edge.export.networks import require
from pyad_edge.export.papers.published import latency_claims
from pyad_edge.export.papers.table import Grid
from pyad_edge.export.progress import ProgressCall
from pyad_edge.runtime import Runtime

__all__ = ["TIMED", "latency_grid", "measure_latency"]

TIMED = ("patchcore", "reconpatch", "fod", "grad")
"""Methods of which a paper prints a latency."""
QUERIES = 50
NOTE = (
    "here: from the uint8 frame in memory to score, map and regions, one frame at a time; the "
    "papers' networks with random weights, frames of noise. A paper's figure belongs to its device."
)


def measure_latency(
    methods: Sequence[str],
    *,
    device: str,
    threads: int | None,
    seconds: float,
    progress: ProgressCall,
) -> list[dict[str, Any]]:
    """Make each method's engine, open it with all its checks, and time it.

    Args:
        methods: out of ``TIMED``.
        device: ``cpu`` (ONNX Runtime), or ``cuda`` (torch).
        threads: of network and kernels.
        seconds: of each, at least.
        progress: called with (stage, done, of).

    Raises:
        SettingError: if no paper prints a latency of a method.
        BackendError: if packages or the device are missing.
    """
    unknown = [method for method in methods if method not in TIMED]
    if unknown:
        raise SettingError(
            f"[bench papers] no paper prints a latency of {', '.join(unknown)}; --latency knows "
            f"{','.join(TIMED)}."
        )
    for package in ("torch", "timm", "onnx"):
        require(package, operation="bench papers --latency")
    from pyad_edge.export.papers.random_engines import MAKERS, noise

    rows = []
    with tempfile.TemporaryDirectory() as name:
        for number, method in enumerate(methods):
            progress("latency", number, len(methods), method)
            runtime = Runtime(
                MAKERS[method](Path(name)),
                backend="onnxruntime" if device == "cpu" else "torch",
                device=device,
                threads=threads,
            )
            H, W = runtime.pipeline.input_size
            plan = Plan(
                scenarios=("SingleStream",), clock="own", seconds=seconds, queries=QUERIES, rounds=5
            )
            content = bench(runtime, noise((H, W), 16), plan).content
            rows.append(
                {
                    "method": method,
                    "latency_ms": content["runs"][0]["latency_ms"],
                    **{key: content[key] for key in ("engine", "backend", "machine", "load")},
                    "device": device,
                    "claims": [asdict(c) for c in latency_claims() if c.method == method],
                }
            )
        progress("latency", len(methods), len(methods))
    return rows


def latency_grid(rows: Sequence[dict[str, Any]]) -> Grid:
    """Every claim of a paper beside our figure; the device is named on both sides."""
    cells: list[tuple[str, ...]] = []
    for row in rows:
        ms = row["latency_ms"]
        ours = f"{ms['p50']:.2f} ms (p90 {ms['p90']:.2f})"
        cells += [
            (
                f"{row['method']}\n{claim['where']}",
                claim["printed"],
                f"{claim['device']}; {claim['conditions']}",
                ours,
                _here(row),
            )
            for claim in row["claims"]
        ]
    header = ("method", "paper", "on", "here (median)", "on")
    busy = max((row["load"]["before"] or 0.0) for row in rows)
    cores = rows[0]["machine"]["cores"]
    notes = [NOTE]
    if busy > cores:
        notes.append(
            f"{busy:.1f} processes wanted the {cores} cores meanwhile: these times are too long."
        )
    return Grid("Latency of a picture", header, tuple(cells), tuple(notes))


def _here(row: dict[str, Any]) -> str:
    machine, backend = row["machine"], row["backend"]
    place = str(backend.get("device_name") or machine["board"] or machine["processor"])
    bank = row["engine"]["bank"]
    rows = f", bank {bank[0]:,} x {bank[1]:,}" if bank else ""
    return (
        f"{place}, {machine['cores']} cores, {machine['kernel_threads']} threads, {row['device']}; "
        f"{row['engine']['backbone']}, {row['engine']['input_size'][0]} px{rows}"
    )
