"""pyad_edge beside anomalib's PatchCore and the official algorithm: frame to scores and map.

    pip install anomalib openvino faiss-cpu    # beside the extras [train,dev]
    python benchmarks/peers/run.py

ResNet-18 layers 2+3 (anomalib's default layers), MTD at 256 px, banks of 819 and 8,192 rows, the
same weights, bank and frames for all. Ours counts from the uint8 frame (``Runtime.infer``, with
map), theirs from the prepared tensor. Every peer takes part in its fastest form of those in
``anomalib_forms.py`` and ``official.py``; scores are compared before any clock, and a form whose
scores differ has no row. Blocks of runs in turn, in several processes one after another;
``$PYAD_EDGE_BENCH_PREFIX`` is a command to put before each of them (``taskset -c 2,3``).
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
from contenders import CELLS, TOLERANCE, Cell
from engines import BANKS, SIZE, make_engine
from report import median_interval, write_result

OURS = "pyad_edge"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, default=2, help="of everybody")
    parser.add_argument("--restarts", type=int, default=3, help="processes of each cell")
    parser.add_argument("--rounds", type=int, default=12, help="blocks of each contender a process")
    parser.add_argument("--only", choices=[cell.name for cell in CELLS], action="append")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    cells = [cell for cell in CELLS if not options.only or cell.name in options.only]
    rows, auroc = [], []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for embedding, bank in sorted({(cell.embedding, cell.bank) for cell in cells}):
            make_engine(_engine(folder, embedding, bank), embedding, bank)
        for cell in cells:
            rows.append(_cell(cell, folder, options))
        if any(cell.precision == "bf16" for cell in cells):
            for bank in BANKS:
                if (engine := _engine(folder, "average", bank)).exists():
                    auroc.append({"bank": bank, **_child("auroc.py", folder, engine, options)})
    content = {"size": SIZE, "tolerance": TOLERANCE, "cells": rows, "image_auroc": auroc}
    write_result("peers", content, threads=options.threads, out=options.out)


def _cell(cell: Cell, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    engine = _engine(folder, cell.embedding, cell.bank)
    print(f"{cell.name}:", flush=True)
    common = ("--cell", cell.name, "--rounds", str(options.rounds))
    choice = _child("child.py", folder, engine, options, "choose", *common)
    forms = ("--forms", json.dumps(choice["chosen"]))
    parts = [
        _child("child.py", folder, engine, options, "time", *common, *forms)
        for _ in range(options.restarts)
    ]
    row: dict[str, Any] = {
        "name": cell.name,
        "peer": cell.peer,
        "bank": cell.bank,
        "precision": cell.precision,
        "together": cell.together,
        "rounds": options.rounds,
        "restarts": options.restarts,
        "patch_distance_difference": choice["distances"],
        "load": [part["load"] for part in parts],
        "contenders": {},
        "tried": choice["tried"],
    }
    ours = np.concatenate([part["blocks"].get(OURS, []) for part in parts])
    for group, form in choice["chosen"].items():
        blocks = np.concatenate([part["blocks"][group] for part in parts])
        single = np.concatenate([part["single"][group] for part in parts])
        entry = {
            "form": form,
            "ms": float(np.median(single)),
            "p90": float(np.percentile(single, 90)),
            "p99": float(np.percentile(single, 99)),
            "score_difference": max(part["errors"][group] for part in parts),
        }
        if len(ours) and group != OURS:
            ratio, low, high = median_interval(blocks / ours)
            entry |= {"times_ours": ratio, "interval": [low, high]}
        row["contenders"][group] = entry
        times = f", {entry['times_ours']:.2f} times ours" if "times_ours" in entry else ""
        print(f"  {group} ({form}): {entry['ms']:.2f} ms{times}", flush=True)
    return row


def _child(
    script: str, folder: Path, engine: Path, options: argparse.Namespace, *arguments: str
) -> dict[str, Any]:
    """Run a script of this folder in a process of its own; what it wrote."""
    out = folder / "child.json"
    command = [
        *shlex.split(os.environ.get("PYAD_EDGE_BENCH_PREFIX", "")),
        sys.executable,
        str(Path(__file__).with_name(script)),
        *arguments,
        *("--engine", str(engine), "--threads", str(options.threads), "--json", str(out)),
    ]
    if subprocess.run(command, check=False).returncode:
        raise SystemExit(f"{script} {' '.join(arguments)} failed")
    found: dict[str, Any] = json.loads(out.read_text())
    out.unlink()
    return found


def _engine(folder: Path, embedding: str, bank: str) -> Path:
    return folder / f"{embedding}-{bank}.pyad"


if __name__ == "__main__":
    main()
