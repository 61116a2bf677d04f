"""Two writers save two engines in turn under one name, and both are killed, again and again.

    python tests/faults/kills.py 1000

Prints how often the first and the second engine was found, how many kills hit a save (temporary
files left behind), and how many engines were lost, which has to be 0. Ends with 1 otherwise.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import NoReturn

from pyad_edge.engine import read_engine
from pyad_edge.errors import EngineError
from pyad_edge.export.engine_writer import write_engine

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from engine_factory import engine_bytes, small_engine

WRITERS = 2
ENGINES = [small_engine(seed=seed, rows=4_000) for seed in (1, 2)]


def write_for_ever(path: Path, first: int) -> NoReturn:
    turn = first
    while True:
        manifest, tensors = ENGINES[turn % 2]
        write_engine(path, manifest=manifest, tensors=tensors)
        turn += 1


def kill_writers(folder: Path, kills: int, seed: int = 7) -> dict[str, int]:
    """Kill both writers ``kills / 2`` times and look at what they left."""
    path, moments = folder / "part.pyad", random.Random(seed)
    expected = [engine_bytes(*engine) for engine in ENGINES]
    start = time.perf_counter()
    for manifest, tensors in ENGINES:
        write_engine(path, manifest=manifest, tensors=tensors)
    save_s = (time.perf_counter() - start) / 2
    counts = {"kills": 0, "first": 0, "second": 0, "lost": 0, "partials": 0}
    while counts["kills"] < kills:
        children = []
        for number in range(WRITERS):
            child = os.fork()
            if child == 0:
                try:
                    write_for_ever(path, number)
                finally:
                    os._exit(1)
            children.append(child)
        time.sleep(moments.uniform(0, 6 * save_s))
        for child in children:
            os.kill(child, signal.SIGKILL)
        endings = [os.waitpid(child, 0)[1] for child in children]
        if any(not os.WIFSIGNALED(ending) for ending in endings):
            raise RuntimeError("a writer ended by itself")
        counts["kills"] += WRITERS
        counts["partials"] += len(list(folder.glob(".*.pyad-partial")))
        try:
            read_engine(path)
            counts[("first", "second")[expected.index(path.read_bytes())]] += 1
        except (EngineError, ValueError):
            counts["lost"] += 1
    write_engine(path, manifest=ENGINES[0][0], tensors=ENGINES[0][1])
    counts["files"] = len(list(folder.iterdir()))
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kills", type=int, nargs="?", default=1000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        counts = kill_writers(Path(folder), options.kills)
    print(json.dumps(counts))
    sys.exit(bool(counts["lost"] or counts["files"] != 1))


if __name__ == "__main__":
    main()
