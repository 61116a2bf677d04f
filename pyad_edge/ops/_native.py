"""Finds the compiled kernels and explains, in one sentence, what to do where they are missing."""

from __future__ import annotations

import importlib
from typing import Any

try:
    native: Any = importlib.import_module("pyad_edge._native")
except ImportError as error:  # pragma: no cover - exercised in a subprocess by tests/test_smoke.py
    raise ImportError(
        "pyad_edge's compiled kernels were not found. If you stand in the root of the source tree, "
        "the folder pyad_edge/ there hides the installed package: change to another folder, or "
        "install with 'pip install -e .'. Otherwise reinstall with 'pip install .' (needs a C++17 "
        "compiler)."
    ) from error
