"""A full disk and Ctrl-C in the middle of a fit: whole files or none, and a clear word."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

# Run in a process of its own: argv, then what to do once a stage of the fit has begun.
TRAIN = """
import os, resource, signal, sys, threading
import pyad_edge.export.train as train
from pyad_edge.export.cli import main
stage, what = sys.argv[1:3]
sys.argv = ["pyad-edge", "train", "patchcore", *sys.argv[3:]]
signal.signal(signal.SIGINT, signal.default_int_handler)

def watch(*arguments, progress, original, **settings):
    def report(name, done, of):
        progress(name, done, of)
        if name == stage and not begun.is_set():
            begun.set()
            if what == "interrupt":
                delay = threading.Timer(0.005, os.kill, (os.getpid(), signal.SIGINT))
                delay.daemon = True
                delay.start()
            else:
                resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
    return original(*arguments, progress=report, **settings)

begun = threading.Event()
for name in ("fit", "calibrate"):
    def wrapped(*arguments, original=getattr(train, name), **settings):
        return watch(*arguments, original=original, **settings)
    setattr(train, name, wrapped)
main()
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """An empty folder where the engine would go."""
    folder = tmp_path / "place"
    folder.mkdir()
    return folder


def spawn(stage: str, what: str, *options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", TRAIN, stage, what, *map(str, options)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


@pytest.mark.skipif(not hasattr(signal, "SIGXFSZ"), reason="needs RLIMIT_FSIZE")
def test_a_full_disk_keeps_the_old_engine(part_data: Path, tiny_onnx: Path, place: Path) -> None:
    target = place / "e.pyad"
    target.write_bytes(b"the old engine")
    options = ("--data", part_data, "--out", target, "--backbone", tiny_onnx, "--size", 64)
    done = spawn("calibration", "fill", *options, "--coreset", 0.9)
    assert done.returncode == 6, done.stderr
    assert f"{target} could not be saved: File too large" in done.stderr
    assert "Traceback" not in done.stderr
    assert [path.name for path in place.iterdir()] == ["e.pyad"]
    assert target.read_bytes() == b"the old engine"


@pytest.mark.parametrize("stage", ["features", "coreset", "calibration"])
def test_ctrl_c_during_a_fit(stage: str, part_data: Path, tiny_onnx: Path, place: Path) -> None:
    # Large enough that the stage is inside ONNX Runtime or a kernel when the signal comes.
    size, backbone = (512, tiny_onnx) if stage == "coreset" else (512, "edge18")
    options = ("--data", part_data, "--out", place / "e.pyad", "--backbone", backbone)
    coreset = 0.9 if stage == "coreset" else 0.001
    done = spawn(stage, "interrupt", *options, "--size", size, "--coreset", coreset)
    assert done.returncode == 130, done.stderr
    assert "no file is left half-written." in done.stderr
    assert "Traceback" not in done.stderr
    assert list(place.iterdir()) == []
