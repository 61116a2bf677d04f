"""Fuzz one target with atheris: ``make fuzz target=onnx runs=1000000``.

New inputs go to ``build/fuzz/<target>``, a crash to ``build/fuzz/<target>-crash-...``; the seeds
are in ``corpus/<target>``. Arguments after the target go to libFuzzer.
"""

from __future__ import annotations

import random
import sys
import warnings
from pathlib import Path

import atheris

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

MODULES = ("pyad_edge.onnx_gate", "pyad_edge.engine_", "pyad_edge.trust", "pyad_edge.pixel_formats")


def main() -> None:
    """Never returns: libFuzzer ends the process."""
    name, *arguments = sys.argv[1:]
    import pyad_edge.export.engine_writer  # noqa: F401 - the rest of pyad_edge, not watched

    # An editable installation's own finder would load modules past atheris.
    sys.meta_path = [f for f in sys.meta_path if "ScikitBuild" not in type(f).__name__]
    for module in [m for m in sys.modules if m.startswith(MODULES)]:
        del sys.modules[module]  # so that they are loaded again, and watched
    with atheris.instrument_imports(include=_watched(), enable_loader_override=False):
        from fuzz.targets import TARGETS
    warnings.simplefilter("error")  # as in the tests: what overflows in silence is a fault
    target = TARGETS[name]
    work = HERE.parents[1] / "build" / "fuzz" / name
    work.mkdir(parents=True, exist_ok=True)

    def one(data: bytes) -> None:
        target.accepts(data)

    def mutate(data: bytes, max_size: int, seed: int) -> bytes:
        chance = random.Random(seed)
        if chance.random() < 0.5:
            return bytes(atheris.Mutate(data, max_size))
        for _ in range(chance.randrange(1, 4)):
            data = target.mutate(data, chance)
        return data[:max_size]

    libfuzzer = [
        sys.argv[0],
        str(work),
        str(HERE / "corpus" / name),
        f"-artifact_prefix={work}-",
        "-timeout=10",
        "-rss_limit_mb=2048",
        "-max_len=20480",
        *arguments,
    ]
    atheris.Setup(libfuzzer, one, custom_mutator=mutate)
    atheris.Fuzz()


def _watched() -> list[str]:
    package = HERE.parents[1] / "pyad_edge"
    found = [f"pyad_edge.{p.stem}" for p in package.glob("engine_*.py")]
    found += [f"pyad_edge.onnx_gate.{p.stem}" for p in (package / "onnx_gate").glob("*.py")]
    found += ["pyad_edge.trust.state", "pyad_edge.trust.statement"]
    return found


if __name__ == "__main__":
    main()
