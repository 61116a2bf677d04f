from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from ops.harness import every_form

from pyad_edge import ops
from pyad_edge.ops import nearest_neighbors, threads


def script(text: str) -> subprocess.CompletedProcess[str]:
    """Run Python in a process of its own; a hang fails after a minute."""
    return subprocess.run(
        [sys.executable, "-c", text], capture_output=True, text=True, timeout=60, check=False
    )


def test_count_is_checked_and_restored() -> None:
    before = threads.num_threads()
    for n in (0, -1, 1025):
        with pytest.raises(ValueError, match=f"1 to 1024 threads, got {n}"):
            threads.set_num_threads(n)
    assert threads.num_threads() == before


def test_threads_that_cannot_start_are_an_error_and_not_a_hang() -> None:
    done = script(
        """
import resource, numpy as np
from pyad_edge import ops
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (200 << 20),) * 2)
rows = np.ones((4000, 8), np.float32)
ops.set_num_threads(200)
try:
    ops.nearest_neighbors(rows, rows)
except RuntimeError as error:
    print(error)
ops.set_num_threads(1)
print(ops.nearest_neighbors(rows, rows)[1].sum())
"""
    )
    assert "[threads] the system refused to start 199 kernel threads" in done.stdout, done.stderr
    assert done.stdout.splitlines()[-1] == "0"


def test_a_forked_child_computes_with_threads_of_its_own() -> None:
    done = script(
        """
import os, threading, warnings, numpy as np
from pyad_edge import ops
warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of forks with threads
rng = np.random.default_rng(0)
queries, bank = rng.random((3000, 64), np.float32), rng.random((3000, 64), np.float32)
expected = ops.nearest_neighbors(queries, bank)[1]
busy = threading.Thread(target=lambda: [ops.nearest_neighbors(queries, bank) for _ in range(40)])
busy.start()
equal = True
for _ in range(5):  # forks that fall into a call of the other thread
    child = os.fork()
    if child == 0:
        same = (ops.nearest_neighbors(queries, bank)[1] == expected).all()
        count = len(os.listdir("/proc/self/task"))
        os._exit(0 if same and count == ops.num_threads() else 1)
    equal &= os.waitpid(child, 0)[1] == 0
busy.join()
print(equal)
"""
    )
    assert done.stdout.strip() == "True", done.stderr


def test_flush_to_zero_on_the_callers_thread_changes_nothing() -> None:
    torch = pytest.importorskip("torch", reason="sets the processor's flush-to-zero; needs [train]")
    rng = np.random.default_rng(0)
    queries = (rng.normal(size=(700, 19)) * 1e-22).astype(np.float32)
    bank = (rng.normal(size=(90, 19)) * 1e-22).astype(np.float32)
    expected = nearest_neighbors(queries, bank)
    assert ((expected[0] > 0) & (expected[0] < np.finfo(np.float32).tiny)).any()  # subnormal
    if not torch.set_flush_denormal(True):
        pytest.skip("this processor has no flush-to-zero")
    try:
        for form in every_form():
            found = ops.nearest_neighbors(queries, bank)
            assert [a.tobytes() for a in found] == [a.tobytes() for a in expected], form
    finally:
        torch.set_flush_denormal(False)
