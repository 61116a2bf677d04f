"""Wrote v3_patchcore.pyad, once: the first file of format 3. Do not run it again over that file."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from engine_factory import declared_engine, engine_bytes  # noqa: E402

if __name__ == "__main__":
    with (HERE / "v3_patchcore.pyad").open("xb") as file:
        file.write(engine_bytes(*declared_engine(seed=3)))
