"""After the first frames nothing is allocated for data: counted below Python, in every library."""

from __future__ import annotations

import gc
import os
import shutil
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest
from format_4_engines import runnable
from tiny_engine import TinyEngine

from pyad_edge import Runtime, read_image

COMPILER = shutil.which("cc") or shutil.which("gcc")
COUNT = """
import ctypes, sys
import pyad_edge
from pyad_edge import Runtime, read_image

runtime = Runtime(sys.argv[1], backend=sys.argv[4], threads=int(sys.argv[2]))
pyad_edge.ops.set_num_threads(int(sys.argv[2]))
frames = [read_image(path) for path in sys.argv[5:]]
call = getattr(runtime, sys.argv[3])
for turn in range(40):
    result = call(frames[turn % len(frames)])
shim = ctypes.CDLL(None)
shim.count_size.restype = ctypes.c_size_t
# On a busy computer a thread may get its first work, and with it its memory, after any number of
# frames; what is allocated again and again shows in every one of five windows.
for window in range(5):
    shim.count_start()
    for turn in range(200):
        result = call(frames[turn % len(frames)])
    count = shim.count_stop()
    if not count:
        break
print(count, sorted({shim.count_size(i) for i in range(min(count, 64))}))
for i in range(min(count, 3)):
    print(shim.count_size(i), "bytes:", file=sys.stderr, flush=True)
    shim.count_trace(i)
# That the shim sees what there is to see:
shim.count_start()
bytes(5000), bytearray(1 << 20), runtime.infer(frames[0]).anomaly_map.copy()
print(shim.count_stop() >= 3)
"""


@pytest.mark.skipif(
    not sys.platform.startswith("linux") or COMPILER is None, reason="needs Linux and a C compiler"
)
@pytest.mark.parametrize("backend", ["onnxruntime", "native"])
@pytest.mark.parametrize("call", ["infer", "decide"])
@pytest.mark.parametrize("threads", [1, 2])
def test_two_hundred_frames_allocate_nothing(
    tiny: TinyEngine, tmp_path: Path, threads: int, call: str, backend: str
) -> None:
    """malloc, calloc, realloc, aligned forms and mmap of 1 KiB and more, in the whole process."""
    count_allocations(tiny.path, quiet_frames(tiny), tmp_path, threads, call, backend=backend)


@pytest.mark.skipif(
    not sys.platform.startswith("linux") or COMPILER is None, reason="needs Linux and a C compiler"
)
@pytest.mark.parametrize("call", ["infer", "decide"])
def test_a_score_map_allocates_nothing(tiny: TinyEngine, tmp_path: Path, call: str) -> None:
    runtime = Runtime(engine := runnable("grad", tmp_path))
    paths = [path for path in tiny.scores if not runtime.infer(read_image(path)).regions]
    assert len(paths) >= 2
    count_allocations(engine, paths, tmp_path, 1, call)


def count_allocations(
    engine: Path,
    frames: list[str],
    tmp_path: Path,
    threads: int,
    call: str,
    *,
    backend: str = "onnxruntime",
) -> None:
    """Two hundred frames after the first forty, in a process of its own."""
    shim = tmp_path / "allocations.so"
    source = Path(__file__).with_name("allocations.c")
    build = [str(COMPILER), "-O1", "-shared", "-fPIC", "-o", str(shim), str(source), "-ldl"]
    subprocess.run(build, check=True, capture_output=True)
    command = [sys.executable, "-c", COUNT, str(engine), str(threads), call, backend, *frames]
    environment = os.environ | {"LD_PRELOAD": str(shim)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert (done.returncode, done.stdout.split("\n")[:2]) == (0, ["0 []", "True"]), done.stderr


def test_python_holds_no_more_after_two_hundred_frames(tiny: TinyEngine) -> None:
    """What Python's own allocators see, NumPy's arrays included, once its free lists are empty."""
    runtime = Runtime(tiny.path)
    frames = [read_image(path) for path in tiny.scores]
    held: list[int] = []
    tracemalloc.start()
    try:
        for _ in range(4):
            for turn in range(200):
                runtime.infer(frames[turn % len(frames)])
            gc.collect()
            held.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert held[-1] - held[-2] < 2048, held


def quiet_frames(tiny: TinyEngine) -> list[str]:
    """Pictures without a region: OpenCV's labelling of regions allocates, on anomalous frames."""
    runtime = Runtime(tiny.path)
    paths = [path for path in tiny.scores if not runtime.infer(read_image(path)).regions]
    assert len(paths) >= 2
    return paths
