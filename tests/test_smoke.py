"""What an installed package must do, whatever else is tested."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from tiny_engine import TinyEngine

import pyad_edge

ROOT = Path(__file__).resolve().parents[1]


def test_an_engine_tells_a_part_from_noise(tiny: TinyEngine) -> None:
    runtime = pyad_edge.Runtime(tiny.path)
    part = pyad_edge.read_image(sorted((tiny.data / "train/good").iterdir())[0])
    noise = np.random.default_rng(0).integers(0, 256, part.shape, dtype=np.uint8)
    assert not runtime.infer(part).is_anomalous
    assert runtime.infer(noise).is_anomalous


def test_without_its_kernels_the_package_says_what_to_do() -> None:
    # Standing in the source tree hides an installed package; an editable one is hidden by hand.
    code = """
import sys
sys.modules["pyad_edge._native"] = None
import pyad_edge.ops
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={k: v for k, v in os.environ.items() if k != "PYTHONSAFEPATH"},
    )
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: pyad_edge's compiled kernels were not found.")
    assert "change to another folder, or install with 'pip install -e .'" in last
    assert "needs a C++17 compiler" in last
