"""Lets the n-th allocation fail in frames and kernels, for every n, and says what became of it.

Run with ``failing_memory`` preloaded, as ``memory_cases.py CASE ENGINE PICTURE THREADS``: a line
for each n.
"""

from __future__ import annotations

import ctypes
import json
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from pyad_edge import Runtime, ops, read_image
from pyad_edge.buffers import ArrayPool
from pyad_edge.workspace import WorkspacePool

SHIM = ctypes.CDLL(None)
SHIM.memory_arm.argtypes = [ctypes.c_int, ctypes.c_size_t, ctypes.c_int, ctypes.c_int]
LEAST = 256  # bytes: what the kernels take, and most of ONNX Runtime's

Call = Callable[[], tuple[bytes, ...]]


def frames(ask: str) -> tuple[Callable[[], object], Call]:
    """A frame on a runtime that has planned nothing yet: all of its memory is asked for anew."""
    runtime, frame = Runtime(sys.argv[2], threads=int(sys.argv[4])), read_image(sys.argv[3])
    pipeline: Any = runtime.pipeline

    def forget() -> None:
        pipeline._workspaces = WorkspacePool(pipeline.backend)
        pipeline.buffers = ArrayPool()
        pipeline._certifier = None

    def call() -> tuple[bytes, ...]:
        if ask == "decide":
            return (np.float64(runtime.decide(frame, score=True).score).tobytes(),)
        results = [runtime.infer(frame)] if ask == "infer" else runtime.infer_batch([frame] * 3)
        return tuple(
            part
            for one in results
            for part in (np.float64(one.score).tobytes(), one.anomaly_map.tobytes())
        )

    return forget, call


def kernels() -> tuple[Callable[[], object], Call]:
    """The kernels that take scratch memory, one after the other."""
    rng = np.random.default_rng(0)
    bank = rng.normal(size=(300, 24)).astype(np.float32)
    queries = rng.normal(size=(40, 24)).astype(np.float32)
    scores = rng.random((2, 8, 8)).astype(np.float32)
    picture = rng.integers(0, 256, (50, 70, 3), dtype=np.uint8)

    def call() -> tuple[bytes, ...]:
        found = ops.nearest_neighbors(queries, bank, k=3)
        chosen = ops.greedy_coreset(bank, count=20)
        maps, _ = ops.anomaly_map(scores, size=(64, 64), sigma=4.0)
        plane = ops.preprocess(picture, resize=(32, 48), mean=(0.5, 0.5, 0.5), std=(0.2, 0.2, 0.2))
        return tuple(np.asarray(part).tobytes() for part in (*found, chosen, maps, plane))

    return lambda: None, call


def main() -> None:
    case, threads = sys.argv[1], int(sys.argv[4])
    ops.set_num_threads(threads)
    forget, call = kernels() if case == "kernels" else frames(case)
    for _ in range(3):
        forget()
        expected = call()
    everywhere = int(threads > 1)
    forget()
    SHIM.memory_arm(0, LEAST, everywhere, 0)
    assert call() == expected
    total = SHIM.memory_stop()
    for onwards in (0, 1):
        for n in range(1, total + 1):
            forget()
            error: BaseException | None = None
            result = None
            SHIM.memory_arm(n, LEAST, everywhere, onwards)
            try:
                result = call()
            except Exception as caught:
                error = caught
            finally:
                SHIM.memory_stop()
            said = {
                "n": n,
                "total": total,
                "onwards": onwards,
                "error": None if error is None else [c.__name__ for c in type(error).__mro__],
                "sentence": "" if error is None else str(error),
                "right": result == expected,
            }
            del error
            said["again"] = call() == expected
            print(json.dumps(said), flush=True)


if __name__ == "__main__":
    main()
