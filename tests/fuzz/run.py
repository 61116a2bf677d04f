"""Fuzz one target with atheris: ``make fuzz target=onnx runs=1000000``.

New inputs go to ``build/fuzz/<target>``, a crash to ``build/fuzz/<target>-crash-...``; the seeds
are in ``corpus/<target>``. Arguments after the target go to libFuzzer.
"""

from __future__ import annotations

import gc
import random
import sys
import warnings
from pathlib import Path

import atheris

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

MODULES = (
    "pyad_edge.onnx_gate",
    "pyad_edge.engine_",
    "pyad_edge.heads.ivfpq_layout",
    "pyad_edge.pixel_formats",
    "pyad_edge.trust",
)
# Its loop runs for every field of every message. To watch it takes more than to read the file, and
# what it lets through or refuses shows in what reads the messages.
UNWATCHED = ("pyad_edge.onnx_gate.wire",)


def main() -> None:
    """Never returns: libFuzzer ends the process."""
    name, *arguments = sys.argv[1:]
    import pyad_edge.export.engine_writer  # noqa: F401 - the rest of pyad_edge, not watched

    # An editable installation's own finder would load modules past atheris.
    sys.meta_path = [f for f in sys.meta_path if "ScikitBuild" not in type(f).__name__]
    for module in [m for m in sys.modules if m.startswith(MODULES)]:
        del sys.modules[module]  # so that they are loaded again, and watched
    with atheris.instrument_imports(["pyad_edge"], UNWATCHED, enable_loader_override=False):
        from fuzz.targets import TARGETS
    warnings.simplefilter("error")  # as in the tests: what overflows in silence is a fault
    target = TARGETS[name]
    work = HERE.parents[1] / "build" / "fuzz" / name
    work.mkdir(parents=True, exist_ok=True)
    gc.freeze()  # what is loaded stays: no collection has to look at it

    def one(data: bytes) -> None:
        target.accepts(data)

    def mutate(data: bytes, max_size: int, seed: int) -> bytes:
        chance = random.Random(seed)
        if chance.random() < 0.5:
            return bytes(atheris.Mutate(data, max_size))
        return target.mutate(data, chance)[:max_size]

    libfuzzer = [
        sys.argv[0],
        str(work),
        str(HERE / "corpus" / name),
        f"-artifact_prefix={work}-",
        "-timeout=10",
        "-rss_limit_mb=2048",
        f"-max_len={target.most}",
        "-reload=0",  # nobody else writes to the folder
        *arguments,
    ]
    atheris.Setup(libfuzzer, one, custom_mutator=mutate)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
