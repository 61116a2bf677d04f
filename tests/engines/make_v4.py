"""Wrote the v4_*.pyad beside it, once: the first files of format 4. Do not write over them."""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from format_4_engines import runnable  # noqa: E402

if __name__ == "__main__":
    for name in sys.argv[1:]:
        with tempfile.TemporaryDirectory() as folder:
            made = runnable(name, Path(folder))
            with made.open("rb") as source, (HERE / made.name).open("xb") as target:
                shutil.copyfileobj(source, target)
