"""Engines of every method on MTD for the benchmarks of exports: real data, short schedules.

How far an export's scores are from the engine's does not depend on how well the engine was trained;
AUROCs of ReContrast and FOD after so few steps say nothing about these methods. An engine that
lies in the folder is used again, and trainings go on from their checkpoints.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mtd_fod import SCHEDULE as FOD
from mtd_grad import SETTINGS, SHORT
from mtd_methods import Lines, Place, train_bank
from mtd_patchcore import resnet18_weights
from report import shared

__all__ = ["METHODS", "SCHEDULES", "engine_of"]

SCHEDULES: dict[str, dict[str, Any]] = {
    "patchcore": {},
    "reconpatch": {"dim": 128},
    "recontrast": {"iterations": 40, "alpha_rise": 1.0},
    "fod": FOD | {"precision": "fp32"},  # bf16 takes 27 times as long where processors lack it
    "grad": SHORT | SETTINGS["mtd"],  # an hour and a half of one core; mtd_grad.py's fused row
}
METHODS = tuple(SCHEDULES)


def engine_of(method: str, folder: Path, *, threads: int) -> Path:
    """The engine of a method, trained if it is not there."""
    path = folder / f"{method}-seed0.pyad"
    if not path.exists():
        start = time.perf_counter()
        _TRAIN[method](folder, path, threads)
        print(f"{method}: trained in {time.perf_counter() - start:.0f} s", flush=True)
    return path


def _bank(method: str) -> Callable[[Path, Path, int], None]:
    def train(folder: Path, path: Path, threads: int) -> None:
        place = Place(folder, threads)
        assert place.engine(method, 0) == path
        train_bank(place, method, 0, aggregation="official", **SCHEDULES[method])

    return train


def _recontrast(folder: Path, path: Path, threads: int) -> None:
    from pyad_edge.export.methods.recontrast.settings import make_settings
    from pyad_edge.export.methods.recontrast.train import train_recontrast

    train_recontrast(
        shared("data", "mtd"),
        path,
        settings=make_settings(**SCHEDULES["recontrast"]),
        weights=resnet18_weights(),
        options=_options(folder / "recontrast.safetensors"),
        threads=threads,
        progress=Lines(),
    )


def _fod(folder: Path, path: Path, threads: int) -> None:
    from pyad_edge.export.methods.fod.settings import make_settings
    from pyad_edge.export.methods.fod.train import train_fod

    train_fod(
        shared("data", "mtd"),
        path,
        settings=make_settings(**SCHEDULES["fod"]),
        weights=resnet18_weights(),
        options=_options(folder / "fod.safetensors"),
        threads=threads,
        progress=Lines(),
    )


def _grad(folder: Path, path: Path, threads: int) -> None:
    from pyad_edge.export.methods.grad.settings import make_settings
    from pyad_edge.export.methods.grad.train import train_grad
    from pyad_edge.export.methods.grad.work import WorkFolder

    train_grad(
        shared("data", "mtd"),
        path,
        settings=make_settings(**SCHEDULES["grad"]),
        work=WorkFolder(folder / "grad", resume=True, every=50),
        threads=threads,
        progress=Lines(),
    )


def _options(checkpoint: Path) -> Any:
    from pyad_edge.export.training.options import CheckpointOptions

    return CheckpointOptions(checkpoint=checkpoint, every=10, resume=checkpoint.exists())


_TRAIN: dict[str, Callable[[Path, Path, int], None]] = {
    "patchcore": _bank("patchcore"),
    "reconpatch": _bank("reconpatch"),
    "recontrast": _recontrast,
    "fod": _fod,
    "grad": _grad,
}
