"""Two writers of one file, killed at random, lose no engine; ``make kills`` kills a thousand."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("kills.py")


@pytest.mark.parametrize("kills", [50])
def test_kills_of_two_writers_lose_no_engine(kills: int) -> None:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(kills)],
        env=os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},  # to fork safely
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    counts = json.loads(done.stdout)
    assert counts["lost"] == 0
    assert counts["kills"] == kills
    assert counts["first"] + counts["second"] == kills // 2
    assert min(counts["first"], counts["second"]) > 0, "only one of them was ever saved"
    assert counts["partials"] > 0, "no kill hit a save, so they proved nothing"
    assert counts["files"] == 1, "what killed writers left is swept up"
