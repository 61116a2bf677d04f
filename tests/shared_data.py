"""Real pictures and weights outside the repository; a test that asks for them skips without.

They are looked for in the folder that PYAD_EDGE_TEST_DATA names, else in ``../shared`` beside the
repository.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

_VARIABLE = "PYAD_EDGE_TEST_DATA"


def shared(*parts: str) -> Path:
    """A file or folder of the shared data, or a skip that says what is missing."""
    beside = Path(__file__).resolve().parents[2] / "shared"
    root = Path(os.environ.get(_VARIABLE) or beside)
    path = root.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"needs {'/'.join(parts)} in ../shared or in the folder ${_VARIABLE} names")
    return path


def mtd() -> Path:
    """Magnetic Tile Defects in the MVTec layout."""
    return shared("data", "mtd")


def natural() -> Path:
    """A folder of 1,000 photographs."""
    return shared("data", "natural")


def weights(name: str) -> Path:
    """A weights file, e.g. ``weights("resnet18_layer3")``, with or without its suffix."""
    if not name.endswith(".safetensors"):
        name += ".safetensors"
    return shared("weights", name)
