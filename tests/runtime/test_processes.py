"""A forked child has no threads: calls are refused there, and a Runtime of its own works."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from tiny_engine import TinyEngine

FORK = """
import os, signal, sys
import pyad_edge
from pyad_edge import BackendError, Runtime, read_image

runtime, frame = Runtime(sys.argv[1]), read_image(sys.argv[2])
expected = runtime.infer(frame).score
child = os.fork()
if child == 0:
    signal.alarm(60)
    for call in (
        lambda: runtime.infer(frame),
        lambda: runtime.infer_batch([frame]),
        lambda: runtime.decide(frame),
    ):
        try:
            call()
        except BackendError as error:
            assert str(error).startswith("[Runtime] "), error
            assert "a fork of it" in str(error) and "Open the Runtime in the child" in str(error)
        else:
            os._exit(1)
    own = Runtime(sys.argv[1])  # as the sentence says
    os._exit(0 if own.infer(frame).score == expected else 2)
status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
assert runtime.infer(frame).score == expected
sys.exit(status)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_fork_is_refused_and_told_what_to_do(tiny: TinyEngine) -> None:
    command = [sys.executable, "-W", "ignore", "-c", FORK, str(tiny.path), next(iter(tiny.scores))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")
