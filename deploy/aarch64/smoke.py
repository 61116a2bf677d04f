"""Runs inside an emulated Python: engines that were made on another machine give their scores here.

    python smoke.py FOLDER_OF_ENGINES

Opening an engine scores its golden pictures and refuses a drift. Prints a line each; exit code 1 if
an engine does not open or gives other scores than those that are stored in it.
"""

from __future__ import annotations

import platform
import sys
from pathlib import Path

import pyad_edge
from pyad_edge.ops import available_cpu_levels


def main(folder: Path) -> int:
    """Open every engine; the exit code."""
    levels = " ".join(available_cpu_levels())
    print(f"{platform.machine()}, Python {platform.python_version()}, levels {levels}")
    paths = sorted(folder.glob("v4_*.pyad"))  # older ones hold no network that runs
    wrong = [path.name for path in paths if not opened(path)]
    print(f"{len(paths) - len(wrong)} of {len(paths)} engines agree")
    return 1 if wrong or not paths else 0


def opened(path: Path) -> bool:
    """Open an engine and judge its first golden picture."""
    try:
        runtime = pyad_edge.Runtime(path, threads=1)
        result = runtime.infer(runtime.engine.tensors["golden/frames"][0])
    except Exception as error:  # said, and counted as wrong
        print(f"{path.name}: {type(error).__name__}: {error}")
        return False
    stored = float(runtime.engine.tensors["golden/scores"][0])
    print(f"{path.name}: {result.verdict.value}, score {result.score:.7g}, stored {stored:.7g}")
    return True


if __name__ == "__main__":
    raise SystemExit(main(Path(sys.argv[1])))
