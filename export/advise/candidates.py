"""What is tried: a candidate is a ``pyad-edge train`` command, and the fit that it stands for."""

from __future__ import annotations

import importlib.util
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pyad_edge.export.advise.settings import AdviseSettings
from pyad_edge.export.methods.patchcore import make_settings as bank_settings
from pyad_edge.export.methods.reconpatch.settings import make_reconpatch_settings
from pyad_edge.export.progress import ProgressCall
from pyad_edge.export.train import train_patchcore

__all__ = ["Candidate", "Fit", "has_package", "memory_banks"]

Fit = Callable[[Path, Path, ProgressCall], object]
"""(folder of good pictures, engine file to write, progress)."""

CORESET, LARGER_CORESET = 0.01, 0.05
# Of ReConPatch's page: what its test figures were measured with.
DIM, EPOCHS = 128, 0.25


@dataclass(frozen=True, eq=False)
class Candidate:
    """One way to make an engine.

    Attributes:
        name: for tables.
        arguments: of ``pyad-edge train``, without data and target.
        fit: does what that command does.
        note: what a reader of its figures must know; empty: nothing.
    """

    name: str
    arguments: tuple[str, ...]
    fit: Fit
    note: str = ""

    def command(self, data: Path, settings: AdviseSettings) -> str:
        """The command that makes this engine from all pictures of a folder, for a shell."""
        more = ["--false-reject", f"{settings.false_reject:g}", "--seed", str(settings.seed)]
        words = [*self.arguments, "--data", str(data), "--out", "part.pyad", *more]
        return shlex.join(["pyad-edge", "train", *words])


def memory_banks(settings: AdviseSettings, *, threads: int | None) -> tuple[Candidate, ...]:
    """PatchCore of every backbone, small ones first, and ReConPatch where torch is installed."""
    first = settings.sizes[0]
    forms = [(side, CORESET) for side in sorted(settings.sizes)] + [(first, LARGER_CORESET)]
    banks = [
        _patchcore(settings, backbone, side, coreset, threads=threads)
        for side, coreset in forms
        for backbone in settings.backbones
    ]
    if all(has_package(name) for name in ("torch", "timm", "onnx")):
        banks += [
            _reconpatch(settings, backbone, first, threads=threads)
            for backbone in settings.backbones
        ]
    return tuple(banks)


def has_package(name: str) -> bool:
    """Whether a package is installed; it is not imported."""
    try:
        return importlib.util.find_spec(name) is not None
    except ImportError:
        return False


def _patchcore(
    settings: AdviseSettings, backbone: str, side: int, coreset: float, *, threads: int | None
) -> Candidate:
    own = bank_settings(
        resize=(side, side),
        coreset=coreset,
        false_reject=settings.false_reject,
        seed=settings.seed,
    )

    def fit(data: Path, out: Path, progress: ProgressCall) -> object:
        return train_patchcore(
            data, out, settings=own, backbone=backbone, threads=threads, progress=progress
        )

    given = ("--backbone", backbone, "--size", str(side), "--coreset", f"{coreset:g}")
    name = f"PatchCore {Path(backbone).stem} {side}px {coreset:.0%}"
    return Candidate(name, ("patchcore", *given), fit)


def _reconpatch(
    settings: AdviseSettings, backbone: str, side: int, *, threads: int | None
) -> Candidate:
    own = bank_settings(
        resize=(side, side),
        aggregation="average",
        coreset=CORESET,
        false_reject=settings.false_reject,
        seed=settings.seed,
    )
    learning = make_reconpatch_settings(dim=DIM, epochs=EPOCHS, seed=settings.seed)

    def fit(data: Path, out: Path, progress: ProgressCall) -> object:
        return train_patchcore(
            data,
            out,
            settings=own,
            reconpatch=learning,
            backbone=backbone,
            threads=threads,
            progress=progress,
        )

    given = ("--backbone", backbone, "--size", str(side), "--coreset", f"{CORESET:g}")
    learned = ("--dim", str(DIM), "--epochs", f"{EPOCHS:g}")
    note = f"learned for {EPOCHS:g} of the paper's 120 epochs"
    name = f"ReConPatch {Path(backbone).stem} {side}px"
    return Candidate(name, ("reconpatch", *given, *learned), fit, note)
